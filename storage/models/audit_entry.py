"""`AuditEntry`: what a member of staff has done. It has ids, and never text."""

from django.db import models

from storage import limits


class AuditEntry(models.Model):
    """A link of a chain: `digest` covers the entry and the digest of the one before it.

    Append with `storage.accounts.audit_log.record` alone. Triggers of the database refuse changes
    and deletions; a migration that makes this table again has to make them again, too.
    """

    at = models.DateTimeField()
    action = models.CharField(max_length=32)
    staff = models.CharField(
        max_length=150, blank=True, help_text="The name of the account; empty if it has none."
    )
    address = models.CharField(max_length=64, blank=True, help_text="Where the request came from.")
    user_pseudonym = models.CharField(
        max_length=32, blank=True, help_text="A keyed hash of the user's id, which is not kept."
    )
    interaction_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    details = models.JSONField(default=dict, help_text="Filters and counts, never what was said.")
    key_id = models.CharField(max_length=8, help_text="Which SECRET_KEY made the digest.")
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at"], name="audit_of_time"),
            models.Index(fields=["staff", "id"], name="audit_of_staff"),
            models.Index(fields=["action", "id"], name="audit_of_action"),
            models.Index(fields=["user_pseudonym", "id"], name="audit_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"
