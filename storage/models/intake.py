"""`IntakeCount`: how much a tool has sent in an hour, and what became of it."""

from django.db import models


class IntakeCount(models.Model):
    """A number, which any process can add to. Contains no text and no user."""

    hour = models.DateTimeField()
    source = models.CharField(max_length=64)
    outcome = models.CharField(max_length=64)
    count = models.PositiveBigIntegerField()
    last_at = models.DateTimeField(help_text="When it was last added to.")

    class Meta:
        verbose_name = verbose_name_plural = "intake"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["hour", "source", "outcome"], name="intake_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.source} {self.outcome}"
