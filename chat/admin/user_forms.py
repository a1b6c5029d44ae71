"""The forms of the pages about a user, and what other forms have of them."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

SHORTEST_REASON, LONGEST_REASON = 10, 500


class AsWrittenField(forms.CharField):
    """The name of a user or a model: with spaces around it, it is another one's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "strip": False})


class ReasonForm(forms.Form):
    """Why something is done. It is kept in the audit log."""

    reason = forms.CharField(
        min_length=SHORTEST_REASON,
        max_length=LONGEST_REASON,
        help_text=(
            "Kept in the audit log, such as the number of the request. No personal data. "
            f"At least {SHORTEST_REASON} characters."
        ),
    )


class ConfirmedForm(ReasonForm):
    """The same for what cannot be undone, or undoes a protection: the user's id is typed again."""

    confirmation = AsWrittenField(
        label="Type the user id",
        help_text="Exactly as it is written above.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    field_order = ("confirmation", "reason")

    def __init__(self, *arguments: Any, user_id: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._user_id = user_id

    def clean_confirmation(self) -> str:
        """Refuse any other id."""
        if self.cleaned_data["confirmation"] != self._user_id:
            raise ValidationError("This is not the user id. Nothing was done.")
        return self._user_id
