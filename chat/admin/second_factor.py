"""The second factor of an account: a code that changes every 30 seconds (TOTP, RFC 6238).

An account has one if `manage.py second_factor` has made it. Then the login takes a code besides the
password. As the login is the only way to a session, nothing else has to ask for it.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django_otp import match_token, user_has_device
from django_otp.plugins.otp_totp import admin as otp_admin  # noqa: F401  (registers it)
from django_otp.plugins.otp_totp.models import TOTPDevice

from chat.admin.theme import ThemedLoginForm

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as BaseLoginForm
else:
    BaseLoginForm = ThemedLoginForm

# Its pages would show the secrets to staff; the command makes them.
admin.site.unregister(TOTPDevice)


MOST_FAILURES = 13
"""After a wrong code django-otp takes none for a second, and twice as long after each further one.
More of them than this count no more: whoever knows the password alone could otherwise keep an
account out for years."""

LONGEST_REST_SECONDS = 2 ** (MOST_FAILURES - 1)
"""A bit more than an hour. So nobody tries more than 21 codes a day of a million."""


class LoginForm(BaseLoginForm):
    """Name, password, and the code of accounts that have a second factor."""

    error_messages = {
        **BaseLoginForm.error_messages,
        "invalid_login": "Please enter the correct username and password for a staff account, and "
        "its code if it has a second factor. A code can be used once.",
    }
    code = forms.CharField(required=False)

    def clean(self) -> dict[str, Any]:
        """Check the code. Who lacks it is not told whether the password was right."""
        values = super().clean() or {}
        user = self.get_user()
        if user and user_has_device(user):
            _limit_rest(user)
            if not match_token(user, values.get("code", "")):
                raise self.get_invalid_login_error()
        return values


def add(user: User) -> TOTPDevice:
    """Give an account a new second factor, instead of one that it has."""
    with transaction.atomic():  # or the password alone would suffice, if the rest failed
        remove(user)
        made: TOTPDevice = TOTPDevice.objects.create(user=user, name="command")
    return made


def remove(user: User) -> bool:
    """Take the second factor from an account. Returns whether it had one."""
    count, _ = TOTPDevice.objects.filter(user=user).delete()
    return count > 0


def _limit_rest(user: User) -> None:
    devices = TOTPDevice.objects.filter(user=user, throttling_failure_count__gt=MOST_FAILURES)
    devices.update(throttling_failure_count=MOST_FAILURES)


def end_rest(account: str) -> None:
    """Let codes of an account be tried again. After wrong ones none are taken for a while."""
    devices = TOTPDevice.objects.filter(user__username=account)
    devices.update(throttling_failure_timestamp=None, throttling_failure_count=0)


admin.site.login_form = LoginForm
admin.site.login_template = "admin/login_with_code.html"
