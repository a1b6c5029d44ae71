"""`Lock`: which run of a maintenance command may work now."""

from django.db import models


class Lock(models.Model):
    """A lock that ends by itself, should its owner die."""

    name = models.CharField(primary_key=True, max_length=64)
    owner = models.CharField(max_length=64)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
