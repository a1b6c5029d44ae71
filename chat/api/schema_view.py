"""The call for the OpenAPI schema."""

import functools

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request


class Negotiation(DefaultContentNegotiation):
    """Without the parameters of media types: Python keeps each name of an encoding in them."""

    def get_accept_list(self, request: Request) -> list[str]:
        """What the client accepts."""
        return [each.partition(";")[0].strip() for each in super().get_accept_list(request)]


class SchemaView(SpectacularAPIView):
    """The schema: the same for everybody, so each process makes it once.

    Of the query only `format` counts. The library would put `version` into a header, and keep a
    translation in memory for each `lang` that somebody sends.
    """

    http_method_names = ["get", "head"]
    content_negotiation_class = Negotiation
    schema = None  # it is not part of the API

    def get(self, request: Request) -> HttpResponse:
        """Return it in the format that the client prefers: YAML, or JSON."""
        renderer = request.accepted_renderer
        charset = "" if renderer.charset is None else f"; charset={renderer.charset}"
        name = f"{settings.SITE_NAME}.{renderer.format}"
        return HttpResponse(
            _written(renderer.format),
            content_type=f"{renderer.media_type}{charset}",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )


@functools.cache
def _written(kind: str) -> bytes:
    renderer = OpenApiYamlRenderer() if kind == "yaml" else OpenApiJsonRenderer()
    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    written: bytes = renderer.render(schema)
    return written
