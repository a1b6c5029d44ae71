"""Another process that writes the database: commits a message for each line it is given.

Argument: the database file. Each line is `id message`; it answers `done` once committed.
Knows nothing of Django or the cache.
"""

import sys

from tests.sqlite import connect


def main() -> None:
    connection = connect(sys.argv[1], timeout=20, isolation_level=None)
    print("ready", flush=True)
    for line in sys.stdin:
        interaction_id, message = line.split()
        connection.execute(
            "UPDATE storage_chatinteraction SET message = ? WHERE interaction_id = ?",
            (message, interaction_id),
        )
        print("done", flush=True)


if __name__ == "__main__":
    main()
