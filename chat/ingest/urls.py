"""The URLs to which tools send."""

from django.urls import path

from chat.ingest.litellm_view import LiteLLMView

urlpatterns = [
    path("api/v1/ingest/litellm/", LiteLLMView.as_view(), name="ingest-litellm"),
]
