"""All URLs. Those of the API come first because they are called most."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from chat import health
from chat.admin.access import own_password
from chat.admin.login import login
from chat.api import urls as api_urls
from chat.api.schema_view import Negotiation, SchemaView
from chat.ingest import urls as ingest_urls
from chat.metrics.views import MetricsView
from chat.status import StatusView

READ = ["get", "head"]

admin.autodiscover()  # not in `ready`: see `chat.apps.AdminConfig`

urlpatterns = [
    *api_urls.urlpatterns,
    *ingest_urls.urlpatterns,
    path("api/v1/status/", StatusView.as_view(), name="status"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(
            url_name="schema", http_method_names=READ, content_negotiation_class=Negotiation
        ),
        name="docs",
    ),
    path("healthz", health.live, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("admin/login/", login),
    path("admin/password_change/", own_password),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]

handler400 = "chat.api.problems.bad_request"
handler403 = "chat.api.problems.permission_denied"
handler404 = "chat.api.problems.page_not_found"
handler500 = "chat.api.problems.server_error"
