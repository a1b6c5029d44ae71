"""Granian's main process, which `manage.py serve` becomes.

`serve` blocks SIGTERM, because the first process of a container would lose one that arrives during
`exec`: Linux protects it from signals that it does not handle. Here it is handled first.
"""

import signal

from manage import end_on_sigterm


def main() -> None:
    """Run granian with the arguments of this process."""
    end_on_sigterm()  # until granian handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    from granian.cli import entrypoint

    entrypoint()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
