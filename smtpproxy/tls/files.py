"""Certificate and key files: written whole or not at all, read without following links; it knows no X.509."""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from smtpproxy.errors import CertificateError

MAX_FILE_BYTES = 1 << 20
PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of a folder meanwhile; made with mode 0700 where it is missing.

    Raises:
        CertificateError: the folder cannot be made or opened.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CertificateError(f"folder {folder} cannot be used for certificates: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save_file(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in its place in one step, so that no reader and no crash ever sees half of it.

    Raises:
        CertificateError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # The mode is given at creation: a chmod afterwards leaves a moment in which others can read.
        descriptor = os.open(
            part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from None


def load_file(path: Path, *, is_secret: bool) -> bytes:
    """Read a regular file that stands at the path itself.

    Args:
        path: the file.
        is_secret: refuse it where others than its owner may read it.

    Raises:
        CertificateError: it is missing, unreadable, a link, no file, too large, or open to others.
    """
    try:
        # O_NONBLOCK: a FIFO put there must not make us wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise CertificateError(f"{path} is a symbolic link: put the file itself there") from None
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise CertificateError(f"{path} is not a file")
        if is_secret and status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise CertificateError(f"{path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise CertificateError(f"{path} is too large to be a certificate or a key")
    return data


def create_private(path: Path) -> None:
    """Make sure that a file which somebody else will append to exists and is its owner's alone.

    Raises:
        CertificateError: it cannot be made, or a link stands there.
    """
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE
        )
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from None
    try:
        os.fchmod(descriptor, PRIVATE_MODE)
    finally:
        os.close(descriptor)
