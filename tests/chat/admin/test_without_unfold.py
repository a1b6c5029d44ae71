"""The admin where Unfold, which only gives it a look, is not installed."""

from tests.chat import fork_server
from tests.chat.processes import environment

PROBE = """
import sys
sys.modules["unfold"] = None  # as if it were not installed
import config, django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from chat.first_start import load_sample_data
from storage import get_storage
from storage.records.pages import PageQuery
call_command("migrate", verbosity=0)
load_sample_data()
staff = Client(headers={"host": "localhost"})
staff.force_login(User.objects.create_superuser("grace"))
(newest,) = get_storage().list_interactions_sync(PageQuery(limit=1)).interactions
chats = "/admin/storage/chatinteraction/"
conversation = f"{chats}{newest.interaction_id}/change/"
pages = [chats, conversation, "/admin/storage/apikey/", "/admin/storage/intakecount/"]
for page in ("/admin/", *pages):
    response = staff.get(page)
    print(response.status_code, "unfold" in response.content.decode())
"""


def test_pages_are_served_in_djangos_own_look(tmp_path):
    values = environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    result = fork_server.run(["-c", PROBE], values)
    assert result.stdout.splitlines() == [b"200 False"] * 5, result.stderr[-3000:]
