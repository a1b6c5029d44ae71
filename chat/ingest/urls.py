"""The addresses to which tools send.

Those of OTLP have no slash at the end, and one is no mistake: exporters take a redirect for success
and drop what they have. LiteLLM's has one, and none is no mistake either: it drops what gets a 404.
"""

from django.urls import re_path

from chat.ingest.litellm_view import LiteLLMView
from chat.ingest.otlp import views as otlp

urlpatterns = [
    re_path(r"^api/otlp/v1/traces/?$", otlp.TracesView.as_view(), name="otlp-traces"),
    re_path(r"^api/otlp/v1/logs/?$", otlp.LogsView.as_view(), name="otlp-logs"),
    re_path(r"^api/public/otel/v1/traces/?$", otlp.LangfuseView.as_view(), name="langfuse-traces"),
    re_path(r"^api/v1/ingest/litellm/?$", LiteLLMView.as_view(), name="ingest-litellm"),
]
