"""A server with data of its own, for tests with a browser."""

import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.chat import fork_server
from tests.chat.processes import Server, environment, run

SECRET = "a secret key of these tests alone, as long as it must be"

MAKE_STAFF = """
import django
django.setup()
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
name, superuser, groups, permissions = {about!r}
user = User.objects.create_user(name, is_staff=True, is_superuser=superuser)
user.groups.set([Group.objects.get(name=group) for group in groups])
found = [
    Permission.objects.get(content_type__app_label=label, codename=codename)
    for label, codename in (permission.split(".") for permission in permissions)
]
user.user_permissions.set(found)
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value)
"""

DELETE = """
import django
django.setup()
from storage import get_storage
for interaction_id in {ids!r}:
    get_storage().delete_interaction_sync(interaction_id)
"""


class Site:
    """A running server. `values` are its settings; the data is in `folder`."""

    def __init__(self, folder: Path, values: Mapping[str, str]) -> None:
        self._folder = folder
        self._values: dict[str, Any] = dict(values)
        self._staff: dict[tuple[Any, ...], str] = {}
        self._names = itertools.count()
        self._saved: list[str] = []
        self.server = Server(folder, **self._values)
        self.server.wait_until_it_answers()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.server.port}{path}"

    def save(self, interactions: Iterable[Mapping[str, Any]]) -> None:
        """Save interactions, as `interaction()` makes them."""
        saved = list(interactions)
        self._saved += [each["interaction_id"] for each in saved]
        lines = "".join(json.dumps(each) + "\n" for each in saved)
        self.run("import_interactions", "-", stdin=lines.encode())

    def forget(self) -> None:
        """Delete the interactions, and log in as others from now on."""
        self.python(DELETE.format(ids=self._saved))
        self._saved.clear()
        self._staff.clear()

    def run(self, *arguments: Any, stdin: bytes = b"") -> str:
        """Run a management command on this data. Returns what it has printed."""
        done = run(self._folder, *arguments, stdin=stdin, **self._values)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def python(self, script: str) -> str:
        """Run a script with the server's settings. Returns what it has printed."""
        values = environment(self._folder, **self._values, DJANGO_SETTINGS_MODULE="config.settings")
        done = fork_server.run(["-c", script], values, preloaded=True)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout.decode()

    def session(
        self,
        *permissions: str,
        groups: tuple[str, ...] = (),
        superuser: bool = False,
    ) -> str:
        """The session of staff with just these rights, such as `storage.read_texts`."""
        about = (superuser, groups, permissions)
        if about not in self._staff:
            name = f"staff-{next(self._names)}"
            script = MAKE_STAFF.format(about=(name, *about))
            self._staff[about] = self.python(script).strip()
        return self._staff[about]

    def stop(self) -> None:
        """End the server."""
        self.server.stop()


def interaction(number: int = 0, **fields: Any) -> dict[str, Any]:
    """One of a row of interactions, a minute apart: number 0 is the newest."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=number + 1)
    return {
        "interaction_id": f"interaction-{number:03}",
        "user_id": "ada",
        "message": f"question {number:03}",
        "response": f"answer {number:03}",
        "model_used": "model-1",
        "input_tokens": 1000 + number,
        "output_tokens": 7,
        "created_at": at.isoformat(),
    } | fields
