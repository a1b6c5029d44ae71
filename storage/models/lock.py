"""`Lock`: the run of a maintenance command that may work now."""

from django.db import models


class Lock(models.Model):
    """A lock that expires, in case its owner dies."""

    name = models.CharField(primary_key=True, max_length=64)
    owner = models.CharField(max_length=64)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
