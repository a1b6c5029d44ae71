"""All pages of staff: on wide screens, on phones, in the light and in the dark."""

import pytest

from tests.browser.checking import check_everywhere
from tests.browser.site import interaction

LIST = "/admin/storage/chatinteraction/"
PAGES = {
    "first page": "/admin/",
    "list": LIST,
    "conversation": f"{LIST}interaction_5F000/change/",
    "user": f"{LIST}user/?user_id=ada",
    "keys": "/admin/storage/apikey/",
    "new key": "/admin/storage/apikey/add/",
    "intake": "/admin/storage/intakecount/",
    "staff": "/admin/auth/user/",
    "audit log": "/admin/storage/auditentry/",
    "holds": f"{LIST}holds/",
    "archived days": f"{LIST}restore/",
}


pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module", autouse=True)
def _saved(site):
    site.save(interaction(number) for number in range(3))


@pytest.mark.parametrize("name", PAGES)
def test_page_is_sound_everywhere(open_page, name):
    check_everywhere(open_page(PAGES[name]))


def test_login_is_sound_everywhere(open_page):
    check_everywhere(open_page("/admin/login/", logged_in=False))
