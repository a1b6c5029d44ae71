"""Whether the process is alive, and whether it can serve: for whatever watches it."""

from django.http import HttpRequest, JsonResponse

from storage import get_storage
from storage.exceptions import StorageError


def live(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when interactions can be read, else 503."""
    try:
        get_storage().check_available_sync()
    except StorageError as error:
        return JsonResponse({"status": "unavailable", "detail": str(error)}, status=503)
    return JsonResponse({"status": "ok"})
