"""Where a test's cassette lies, and the command that runs the test again; it reads and writes nothing."""

import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

SUFFIX: Final = ".smtp.jsonl"
MAX_NAME: Final = 150
"""Characters of a name without suffix and digest: file systems take 255 octets."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.=-]+")
_DIGEST_DIGITS: Final = 8


def cassette_path(item: pytest.Item, folder: Path) -> Path:
    """The file of a test's sessions: `tests/test_mail/TestReset.test_reset-alice.smtp.jsonl` in `folder`.

    Tests that differ get different files, on file systems that do not tell `A` from `a` too: where a name had
    to be changed or cut, or where only a parameter's case may tell it from another, it ends in a digest.
    """
    file = _relative(item.path, item.config.rootpath).with_suffix("")
    names = _names(item)
    function, bracket, parameters = names[-1].partition("[")
    scope = ".".join([*names[:-1], function])
    name = f"{scope}-{parameters[:-1]}" if bracket else scope
    safe = _UNSAFE.sub("-", name)
    if safe != name or len(name) > MAX_NAME or parameters != parameters.lower():
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
        safe = f"{safe[:MAX_NAME]}~{digest}"
    return folder / file / (safe + SUFFIX)


def command_for(item: pytest.Item, mode: str, flags: Sequence[str] = ()) -> str:
    """What to type to run this test alone in that record mode, from where pytest was started.

    Args:
        item: the test.
        mode: the record mode.
        flags: further ones that it takes.
    """
    file = os.path.relpath(item.path, item.config.invocation_params.dir)
    test = "::".join([Path(file).as_posix(), *_names(item)])
    quoted = f'"{test}"' if re.fullmatch(r"[\w./:=,@+\[\] -]+", test) else shlex.quote(test)
    return " ".join([f"pytest {quoted} --smtp-record-mode {mode}", *map(shlex.quote, flags)])


def shown_path(path: Path, root: Path) -> str:
    """A file as reports call it: from rootdir where it lies below that."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _names(item: pytest.Item) -> list[str]:
    """The test's name and its classes', as in its node id (where pytest-xdist may have put a group)."""
    chain = item.listchain()
    file = max((at for at, node in enumerate(chain) if isinstance(node, pytest.File)), default=-2)
    return [node.name for node in chain[file + 1 :]]


def _relative(path: Path, root: Path) -> Path:
    """The path below rootdir; of a test that lies elsewhere its last two parts."""
    try:
        return path.relative_to(root)
    except ValueError:
        return Path(*path.parts[-2:])
