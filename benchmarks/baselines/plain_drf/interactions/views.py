"""The API's one view set."""

from django.db.models import QuerySet
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from interactions.models import ChatInteraction
from interactions.serializers import ChatInteractionSerializer


class ChatInteractionViewSet(viewsets.ModelViewSet):
    """Create, read, change, delete, list; `?user_id=` lists one user's interactions."""

    serializer_class = ChatInteractionSerializer

    def get_queryset(self) -> "QuerySet[ChatInteraction]":
        """Newest first."""
        interactions = ChatInteraction.objects.order_by("-created_at")
        if user_id := self.request.query_params.get("user_id"):
            interactions = interactions.filter(user_id=user_id)
        return interactions

    @action(detail=False, methods=["post"])
    def batch(self, request: Request) -> Response:
        """Create all of `interactions`, each committed by itself: Django's default."""
        serializer = self.get_serializer(data=request.data["interactions"], many=True)
        serializer.is_valid(raise_exception=True)
        created = serializer.save()
        results = [{"interaction_id": interaction.interaction_id} for interaction in created]
        return Response({"results": results}, status=status.HTTP_201_CREATED)
