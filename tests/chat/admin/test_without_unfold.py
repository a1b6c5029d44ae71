"""The admin where Unfold, which only gives it a look, is not installed."""

from tests.chat import fork_server
from tests.chat.processes import environment, give_tables

PROBE = """
import sys
sys.modules["unfold"] = None  # as if it were not installed
import config, django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
from storage import get_storage
from storage.models import ChatInteraction
newest = ChatInteraction(user_id="ada", message="What?", response="That.", model_used="model-1")
get_storage().save_interaction_sync(newest)
staff = Client(headers={"host": "localhost"})
staff.force_login(User.objects.create_superuser("grace"))
chats = "/admin/storage/chatinteraction/"
conversation = f"{chats}{newest.interaction_id}/change/"
pages = [chats, conversation, "/admin/storage/apikey/", "/admin/storage/intakecount/"]
for page in ("/admin/", *pages):
    response = staff.get(page)
    print(response.status_code, "unfold" in response.content.decode())
"""


def test_pages_are_served_in_djangos_own_look(tmp_path):
    give_tables(tmp_path)
    values = environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    result = fork_server.run(["-c", PROBE], values)
    assert result.stdout.splitlines() == [b"200 False"] * 5, result.stderr[-3000:]
