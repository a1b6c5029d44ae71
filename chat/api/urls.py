"""The addresses of the API. Ids are `path`s because they may contain slashes."""

from django.urls import path

from chat.api import views

urlpatterns = [
    path("interactions/", views.InteractionsView.as_view(), name="interactions"),
    path(
        "interactions/batch/",
        views.BatchView.as_view(),
        {"interaction_id": "batch"},
        name="interactions-batch",
    ),
    path(
        "interactions/<path:interaction_id>/", views.InteractionView.as_view(), name="interaction"
    ),
    path(
        "users/<path:user_id>/interactions/",
        views.UserInteractionsView.as_view(),
        name="user-interactions",
    ),
]
