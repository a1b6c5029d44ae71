"""The API and the admin."""

from django.contrib import admin
from django.urls import include, path
from interactions.views import ChatInteractionViewSet
from rest_framework.routers import DefaultRouter

router = DefaultRouter()
router.register("interactions", ChatInteractionViewSet, basename="interaction")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include(router.urls)),
]
