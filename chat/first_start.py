"""What the first start makes in development: a login, an API key and sample conversations."""

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone

from storage import get_storage
from storage.archive import durable
from storage.models import ApiKey, ChatInteraction, ModelPrice
from storage.records.pages import PageQuery

NAME_OF_KEY = "Made at the first start"

SAMPLE_DATA = Path(__file__).parent / "sample_data.jsonl"


@dataclass(frozen=True)
class Login:
    """A random login for the admin and a random API key, kept in a file only its owner can read."""

    username: str
    password: str
    api_key: str


def login() -> Login:
    """The login of this database. The first call makes it, and loads sample data."""
    path = settings.DATA_DIR / "login.json"
    known = _read(path)
    if known is not None:
        return known
    if not get_storage().list_interactions_sync(PageQuery(limit=1)).interactions:
        load_sample_data()
    made = _make_login()
    durable.write(path, json.dumps(asdict(made)).encode())
    return made


def revoke_login() -> int:
    """Revoke what development has printed: its API keys, and its password unless it was changed.

    Returns how many of these there were. Call it before the same data is served anywhere else.
    """
    path = settings.DATA_DIR / "login.json"
    revoked = ApiKey.objects.filter(name=NAME_OF_KEY, revoked=False).update(revoked=True)
    if known := _given(path):
        for user in get_user_model().objects.filter(username=known.username):
            if user.check_password(known.password):
                user.set_unusable_password()
                user.save()
                revoked += 1
        path.unlink()
    return revoked


def _read(path: Path) -> Login | None:
    """The login in the file; None if the file is incomplete or this database does not know it."""
    known = _given(path)
    if known is None:
        return None
    users = get_user_model().objects.filter(username=known.username)
    # Not `api_keys.find`: that would count a call.
    return known if ApiKey.objects.is_valid(known.api_key) and users.exists() else None


def _given(path: Path) -> Login | None:
    """The login in the file; None if the file is incomplete."""
    try:
        return Login(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def load_sample_data() -> None:
    """Save the sample conversations. The newest is then a few minutes old."""
    now = timezone.now()
    interactions = []
    for line in SAMPLE_DATA.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        time = now - timedelta(minutes=sample.pop("age_minutes"))
        interactions.append(ChatInteraction(**sample, created_at=time, updated_at=time))
    get_storage().create_interactions_sync(interactions)
    _make_up_prices({interaction.model_used for interaction in interactions}, now.date())


def _make_up_prices(models: set[str], today: date) -> None:
    """So that the sample conversations cost something. The prices say that they are made up."""
    for number, model_used in enumerate(sorted(models), 1):
        ModelPrice.objects.get_or_create(
            model_used=model_used,
            valid_from=today - timedelta(days=365),
            defaults={
                "input_price": number,
                "output_price": 4 * number,
                "note": "Made up, for the sample data",
            },
        )


def _make_login() -> Login:
    made = Login("admin", secrets.token_urlsafe(12), "")
    users = get_user_model().objects
    users.filter(username=made.username).delete()
    users.create_superuser(made.username, password=made.password)
    _, key = ApiKey.objects.create_key(name=NAME_OF_KEY)
    return Login(made.username, made.password, key)
