"""`ArchivedInteraction`: what hot storage knows of an interaction that is in cold storage."""

from django.db import models

from storage import limits


class ArchivedInteraction(models.Model):
    """A stub in the place of an interaction: which segment of the archive has it.

    An interaction is in cold storage exactly if its stub says so. The id stays taken; a trigger
    of the database refuses an interaction whose id has a stub. Holds no text and no user.
    """

    interaction_id = models.CharField(primary_key=True, max_length=limits.IDENTIFIER_MAX_LENGTH)
    created_at = models.DateTimeField(db_index=True)
    segment = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.interaction_id
