"""The application in a worker of granian, as `manage.py serve` starts it.

A worker stops when granian's main process tells it to (SIGTERM). Ctrl-C in a terminal
reaches the worker as well, and a second signal while it handles the first can leave it
waiting for ever: 5 of 24 times with granian 2.8.7. So a worker does not take SIGINT.
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
# Until granian sets its handler, a worker that is told to stop while it starts just ends.
signal.signal(signal.SIGTERM, signal.SIG_DFL)

from config.wsgi import application  # noqa: E402  (this is what takes time to start)
from storage import get_storage  # noqa: E402

get_storage()  # its metrics take their place on disk: later the disk may be full

__all__ = ["application"]
