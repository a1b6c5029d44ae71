"""Forms of pages that were opened before somebody else changed the same object."""

from typing import Any

from django.forms import BoundField, ModelForm, model_to_dict
from django.http import HttpRequest


class KeepsOthersChanges:
    """For a ModelAdmin: a field that is sent as the page has shown it stays as it is by now.

    Otherwise whoever renames an API key gives it back the rights, or the life without an end, that
    it had when the page was opened.
    """

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        if not change:
            return form
        made: Any = type(form)(form.__name__, (_KeepsOthersChanges, form), {})
        for field in made.base_fields.values():
            if not field.disabled:  # as the one for a password, which would show its hash
                field.show_hidden_initial = True
        return made


class _AsFirstShown(BoundField):
    """On a page that comes again with a mistake, what the first one has shown is hidden.

    Django hides what was sent, if it finds no value under the field's name: a date and a time have
    two names, and where nothing was chosen, there is none.
    """

    def as_hidden(self, attrs: Any = None, only_initial: bool = False, **options: Any) -> Any:
        if not (only_initial and self.form.is_bound):
            return super().as_hidden(attrs, only_initial=only_initial, **options)
        widget, name = self.field.hidden_widget(), self.html_initial_name
        shown = widget.value_from_datadict(self.form.data, self.form.files, name)
        return widget.render(name, shown, {"id": self.html_initial_id}, self.form.renderer)


class _KeepsOthersChanges(ModelForm):  # type: ignore[type-arg]
    bound_field_class = _AsFirstShown

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        same = values.keys() - set(self.changed_data)
        return values | model_to_dict(self.instance, list(same))
