"""`TextChange`: an interaction whose text is not yet in the search index as it is now."""

from django.db import models

from storage import limits


class TextChange(models.Model):
    """An entry of the outbox of texts. Triggers of the database write it with each change.

    An entry says only which interaction it is about: what is stored then decides. Whoever has
    brought the index up to date deletes it (`storage.sqlite.text_index`).
    """

    # No AUTOINCREMENT, as Django's own key has, which would write to another table each time.
    id = models.IntegerField(primary_key=True)
    interaction_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.interaction_id
