"""What the admin's own pages share."""

import logging
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from storage.exceptions import StorageError
from storage.models import ChatInteraction

logger = logging.getLogger(__name__)


def page(
    request: HttpRequest, template: str, title: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    """A page with the admin's frame around it. `template` is below admin/storage/."""
    context = {
        **admin.site.each_context(request),
        "opts": ChatInteraction._meta,
        "title": title,
        **context,
    }
    return TemplateResponse(request, f"admin/storage/{template}", context, status=status)


def unavailable(request: HttpRequest, error: StorageError) -> HttpResponse:
    """The page that says that the storage did not answer. The log says it, too."""
    logger.error("The store is unavailable: %s", error)
    template = "chatinteraction/unavailable.html"
    return page(request, template, "The store did not answer", status=503, error=str(error))
