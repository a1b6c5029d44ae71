"""A disk so small that it can be filled, without being root."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

_NAMESPACE = ["unshare", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep infinity'
_ENTER = 'cd "$0" && exec "$@"'
BLOCK = 4096


class SmallDisk:
    """A file system of `size` bytes in memory, in a mount namespace of its own.

    Only processes started with `inside` see it at `mount_point`; others reach it by `path`.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.mount_point = folder / "disk"
        self.mount_point.mkdir()
        # This process holds the namespace; the disk is gone when the last one in it ends.
        self._holder = subprocess.Popen(
            [*_NAMESPACE, "sh", "-c", _MOUNT, "sh", str(size), str(self.mount_point)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = self._holder.stdout.readline()
        if said != b"mounted\n":
            self.close()
            raise OSError(errno.EPERM, f"No mount namespace: {said.decode().strip()}")
        self.process_id = self._holder.pid
        self.path = Path(f"/proc/{self._holder.pid}/root{self.mount_point}")
        self.inside = [
            *("nsenter", f"--target={self._holder.pid}", "--preserve-credentials"),
            *("--user", "--mount", "sh", "-c", _ENTER, str(Path.cwd())),
        ]

    @property
    def free(self) -> Any:
        """Bytes that can still be written."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all space but `leave` bytes, in whole blocks."""
        (self.path / "ballast").write_bytes(b"\0" * (self.free - leave))

    def make_room(self) -> None:
        """Give back what `fill` took."""
        (self.path / "ballast").unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()
