"""`AuditEntry`: what a member of staff has done. It has ids, and never text."""

from django.db import models

from storage import limits


class AuditEntry(models.Model):
    """A link of a chain: `digest` covers the entry and the digest of the one before it."""

    at = models.DateTimeField()
    action = models.CharField(max_length=32)
    staff = models.CharField(max_length=150, help_text="The name of the account.")
    address = models.CharField(max_length=64, blank=True, help_text="Where the request came from.")
    user_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH, blank=True)
    interaction_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    details = models.JSONField(default=dict, help_text="Filters and counts, never what was said.")
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["staff", "id"], name="audit_of_staff"),
            models.Index(fields=["user_id", "id"], name="audit_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"
