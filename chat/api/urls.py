"""The URLs of the API. Ids are `path`s because they may contain slashes.

Each URL is written in full: `include` would add one more lookup to each call.
"""

from django.urls import path

from chat.api import exports, users, views

urlpatterns = [
    path("api/v1/interactions/", views.InteractionsView.as_view(), name="interactions"),
    path(
        "api/v1/interactions/batch/",
        views.BatchView.as_view(),
        {"interaction_id": "batch"},
        name="interactions-batch",
    ),
    path(
        "api/v1/interactions/lookup/",
        views.LookupView.as_view(),
        {"interaction_id": "lookup"},
        name="interactions-lookup",
    ),
    path(
        "api/v1/interactions/search/",
        views.SearchView.as_view(),
        {"interaction_id": "search"},
        name="interactions-search",
    ),
    path(
        "api/v1/interactions/<path:interaction_id>/",
        views.InteractionView.as_view(),
        name="interaction",
    ),
    path(
        "api/v1/users/<path:user_id>/interactions/",
        views.UserInteractionsView.as_view(),
        name="user-interactions",
    ),
    path("api/v1/users/<path:user_id>/export/", exports.ExportView.as_view(), name="user-export"),
    path("api/v1/users/<path:user_id>/", users.UserView.as_view(), name="user"),
    path("api/v1/erasures/<str:erasure_id>/", users.ErasureView.as_view(), name="erasure"),
]
