"""A process that is connected to the database forks; parent and child go on to use it.

Prints as JSON what the parent finds at the end. The argument says what the parent is doing:
`go-on` it uses the database too; `transaction` it forks in the middle of one; `thread` another
of its threads uses the database; `leave` it closes all its connections while the child goes on.
"""

import gc
import json
import os
import sys
import threading
from typing import Any

from django.db import connection, transaction

from storage import get_storage
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction
from storage.startup import selection
from tests.storage.programs.with_django.tables import create_tables, disconnect, interaction


def read_and_write(ready: int, parent_is_done: int) -> None:
    storage = get_storage()
    assert storage.get_interaction_sync("parent-1").message == "committed"
    storage.save_interaction_sync(interaction("child-1"))
    os.write(ready, b"!")
    os.read(parent_is_done, 1)
    for n in range(2, 6):
        storage.save_interaction_sync(interaction(f"child-{n}"))
    assert storage.get_interaction_sync("child-5") is not None
    connection.close()


def fork(work: Any, *arguments: Any) -> int:
    """The id of a child that does this work."""
    process_id = os.fork()
    if process_id == 0:
        try:
            work(*arguments)
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return process_id


def be_refused() -> None:
    try:
        get_storage().get_interaction_sync("parent-1")
    except StorageUnavailable as error:
        reason = str(error.__cause__)
    else:
        reason = "it may use a file whose locks it does not hold"
    assert "forked while a thread was using the database" in reason, reason
    assert "spawn" in reason  # the remedy


def fork_in_transaction() -> int:
    with transaction.atomic():
        ChatInteraction.objects.filter(pk="parent-1").update(message="changed by the parent")
        return os.waitpid(fork(be_refused), 0)[1]


def fork_while_a_thread_reads() -> int:
    reading, forked = threading.Event(), threading.Event()

    def read() -> None:
        ChatInteraction.objects.get(pk="parent-1")
        reading.set()
        forked.wait()
        assert ChatInteraction.objects.get(pk="parent-1").message == "committed"
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    status = os.waitpid(fork(be_refused), 0)[1]
    forked.set()
    thread.join()
    return status


def fork_and_go_on(leave: bool) -> int:
    ready, tell_ready = os.pipe()
    parent_is_done, tell_done = os.pipe()
    process_id = fork(read_and_write, tell_ready, parent_is_done)
    os.close(tell_ready)
    os.read(ready, 1)
    if leave:
        selection._storage_of.cache_clear()
        gc.collect()  # closes the cache's guard
        disconnect()
    else:
        assert get_storage().get_interaction_sync("child-1") is not None
        get_storage().save_interaction_sync(interaction("parent-2"))
    os.write(tell_done, b"!")
    return os.waitpid(process_id, 0)[1]


def main() -> None:
    meanwhile = sys.argv[1]
    create_tables()
    get_storage().save_interaction_sync(interaction("parent-1", message="committed"))
    assert get_storage().get_interaction_sync("parent-1") is not None  # opens the cache's guard
    if meanwhile == "transaction":
        status = fork_in_transaction()
    elif meanwhile == "thread":
        status = fork_while_a_thread_reads()
    else:
        status = fork_and_go_on(leave=meanwhile == "leave")
    with connection.cursor() as cursor:
        (intact,) = cursor.execute("PRAGMA integrity_check").fetchone()
    print(
        json.dumps(
            {
                "child": os.waitstatus_to_exitcode(status),
                "ids": sorted(ChatInteraction.objects.values_list("pk", flat=True)),
                "message": ChatInteraction.objects.get(pk="parent-1").message,
                "intact": intact,
            }
        )
    )


if __name__ == "__main__":
    main()
