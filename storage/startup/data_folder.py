"""What to do about a DATA_DIR that cannot be used, said in one line.

In a container it is often a folder of the machine that somebody else owns. So the line says who
runs here, whose the folder is, and how to give it away.
"""

import os
import stat
from pathlib import Path


def advice(folder: Path, error: OSError) -> str:
    """Returns what is wrong with the folder, and what would be right."""
    place = f": {error.filename}" if error.filename and str(error.filename) != str(folder) else ""
    problem = f"DATA_DIR={folder} cannot be used: {error.strerror or error}{place}."
    if not isinstance(error, PermissionError):
        return f"{problem} Set it to a folder in which this user can write."
    user, group = os.geteuid(), os.getegid()
    return (
        f"{problem} This runs as user {user} of group {group}, {_whose(folder)}. Let root run "
        f"chown -R {user}:{group} on it (in a container: on the folder or volume that is mounted "
        "there), or set DATA_DIR to a folder in which this user can write."
    )


def concerns(folder: Path, error: Exception) -> bool:
    """Whether an error is about who owns what is in the folder."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return False
    return Path(error.filename).is_relative_to(folder)


def _whose(folder: Path) -> str:
    """Whose the folder is, or the nearest above it that there is."""
    for found in (folder, *folder.parents):
        try:
            status = found.stat()
        except OSError:
            continue
        owner, mode = f"user {status.st_uid} of group {status.st_gid}", stat.S_IMODE(status.st_mode)
        return f"and {found} belongs to {owner}, mode {mode:o}"
    return "and nothing of that path can be seen"
