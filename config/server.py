"""The application in a worker of granian, as `manage.py serve` starts it.

Granian's main process stops its workers with SIGTERM. Ctrl-C in a terminal also sends SIGINT to
the workers, and a second signal while a worker handles the first can make it hang for ever (in
5 of 24 attempts with granian 2.8.7). So workers block SIGINT.
"""

import gc
import signal

gc.disable()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
# Until granian installs its handler, SIGTERM ends a worker that is still starting.
signal.signal(signal.SIGTERM, signal.SIG_DFL)

from config.wsgi import application  # noqa: E402  (first: it sets Django up, which is slow)

# isort: split
from django.conf import settings  # noqa: E402

from config import one_core, orphans, stalled, telemetry  # noqa: E402
from storage import get_storage  # noqa: E402
from storage.startup import usage  # noqa: E402

orphans.watch_parent()
get_storage()  # reserves the disk space of its metrics now, as the disk may be full later
usage.keep_counting()
telemetry.start(application.admission)
one_core.keep(settings.WORKERS)
stalled.watch(application.admission, settings.PORT, settings.CLIENT_TIMEOUT)
gc.freeze()  # what is loaded is never garbage, and to go through it would hold all requests up
gc.enable()

__all__ = ["application"]
