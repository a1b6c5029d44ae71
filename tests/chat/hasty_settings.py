"""Settings of a server that has a quarter of the patience with its clients when it stops."""

from config import stalled
from tests.chat.quick_settings import *  # noqa: F403

stalled.STOP_SECONDS /= 4
stalled.LAST_SECONDS /= 4
