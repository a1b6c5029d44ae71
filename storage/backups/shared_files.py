"""Files that several backups share, in folders beside them: chunks, and copies of large texts."""

from pathlib import Path

from storage.backups.manifests import BackupDamaged


def read_shared(path: Path) -> bytes:
    """The content of a shared file as it is stored. Raises BackupDamaged if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BackupDamaged(name_of_shared(path), "it is missing") from error
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
        raise BackupDamaged(name_of_shared(path), problem) from error


def name_of_shared(path: Path) -> str:
    """What an operator is shown: the file's name, with its folder's."""
    return f"{path.parent.name}/{path.name}"
