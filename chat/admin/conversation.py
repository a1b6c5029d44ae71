"""One interaction in the admin, as a conversation."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from chat.admin.pages import page
from storage import get_storage


def show(request: HttpRequest, interaction_id: str) -> HttpResponse:
    """The page of an interaction. Raises StorageError."""
    interaction = get_storage().get_interaction_sync(interaction_id)
    if interaction is None:
        messages.warning(request, f"There is no interaction {interaction_id}; was it deleted?")
        return HttpResponseRedirect(reverse("admin:storage_chatinteraction_changelist"))
    return page(
        request,
        "chatinteraction/conversation.html",
        "Interaction",
        subtitle=interaction.interaction_id,
        interaction=interaction,
    )
