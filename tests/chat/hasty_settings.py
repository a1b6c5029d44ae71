"""Settings of a server that has a quarter of the patience with its clients when it stops."""

from config import stalled
from tests.chat.quick_settings import *  # noqa: F403

vars(stalled).update(STOP_SECONDS=0.5, LAST_SECONDS=1.5)
