"""Health checks, for load balancers and orchestrators."""

from django.http import HttpRequest, JsonResponse

from storage import get_storage
from storage.exceptions import StorageError


def live(request: HttpRequest) -> JsonResponse:
    """Liveness: 200 whenever the process can answer."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """Readiness: 200 if interactions can be read, or else 503."""
    try:
        get_storage().check_available_sync()
    except StorageError as error:
        return JsonResponse({"status": "unavailable", "detail": str(error)}, status=503)
    return JsonResponse({"status": "ok"})
