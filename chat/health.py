"""Health checks, for load balancers and orchestrators. Anybody may ask, and nothing is counted."""

from django.http import HttpRequest, JsonResponse

from storage.startup.availability import LOOKS


def live(request: HttpRequest) -> JsonResponse:
    """Liveness: 200 whenever the process can answer. It asks no other server."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """Readiness: 200 if interactions can be read and listed, or else 503 with what fails.

    The cache is only reported: without it everything works.
    """
    found = LOOKS.now()
    parts = {"checks": found.parts | {"cache": found.cache}}
    if found.failed:
        problem = {"status": "unavailable", "failed": found.failed, "detail": found.detail}
        return JsonResponse(problem | parts, status=503)
    return JsonResponse({"status": "ok"} | parts)
