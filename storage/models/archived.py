"""`ArchivedInteraction`: what hot storage keeps of a cold interaction."""

from django.db import models

from storage import limits


class ArchivedInteraction(models.Model):
    """A stub: the segment of the archive that contains an interaction.

    An interaction is cold if and only if it has a stub. Its id stays taken: a trigger of the
    database refuses a row with the id of a stub. A stub has no text and no user.
    """

    interaction_id = models.CharField(primary_key=True, max_length=limits.IDENTIFIER_MAX_LENGTH)
    created_at = models.DateTimeField(db_index=True)
    segment = models.CharField(max_length=64)
    model_used = models.CharField(  # noqa: DJ001  (not known, which no name is)
        max_length=limits.MODEL_MAX_LENGTH,
        null=True,
        help_text="For the roll-ups of usage. Empty in stubs that earlier versions made.",
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.interaction_id
