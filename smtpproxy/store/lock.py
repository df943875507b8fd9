"""One proxy per store: an advisory lock on a file beside it; it knows nothing of what the store holds.

The lock is the kernel's (flock), so it ends with the process however that ends. The file stays: removing
it would let two processes each hold a lock on a different file of that name.
"""

import fcntl
import os
from pathlib import Path

from smtpproxy.errors import StoreError


class StoreLock:
    """Held from creation until `release`."""

    def __init__(self, path: Path, *, is_waiting: bool = False, owner: str = "smtpproxy") -> None:
        """Take the lock `path`.

        Args:
            path: the lock file; created with mode 0600.
            is_waiting: wait for the present holder rather than fail.
            owner: who else may hold it, for the error's text.

        Raises:
            StoreError: another process holds it (named by its process id), or it cannot be created.
        """
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"the lock file {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            if not isinstance(error, BlockingIOError):
                raise StoreError(f"the lock file {path} cannot be locked: {error.strerror}") from error
            raise StoreError(
                f"the store {path.with_suffix('')} is in use by another {owner} (process {holder});"
                " stop it, or give this one another --store"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def proxy_lock_path(path: Path) -> Path:
    """Where the lock of the proxy that writes to the store `path` lies."""
    return path.with_name(path.name + ".lock")


def import_lock_path(path: Path) -> Path:
    """Where the lock of an import into the store `path` lies."""
    return path.with_name(path.name + ".import-lock")
