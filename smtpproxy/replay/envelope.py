"""Who may get mail from a replay: recipients are checked before anything is connected, and can be replaced.

A recording holds the addresses of real people, and is not to be trusted: what is checked is the octets that
would be sent, not what the recording says about them. It knows no player.
"""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from smtpproxy.errors import ConfigError, ReplayError
from smtpproxy.replay.script import Script, Step, address_of
from smtpproxy.wire.commands import verb_of
from smtpproxy.wire.content import lenient_terminator_in

MAX_SHOWN: Final = 5
_SEAM_BYTES: Final = 8
"""As long as the longest sequence that a lenient server takes for the end of a message, and more."""
_ADDRESS: Final = re.compile(
    r"[^\s<>\x00-\x1f\x7f]{1,256}@[^\s<>@\x00-\x1f\x7f]{1,255}|[^\s<>@\x00-\x1f\x7f]{1,256}"
)
_PATH: Final = re.compile(rb"(?i)\A(\s*RCPT\s+TO:[ \t]*)(<(?:\"(?:[^\"\\]|\\.)*\"|[^>\"])*>|[^\s]+)")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says about recipients.

    Attributes:
        allowed: globs over addresses, in any case; who fits one may get mail.
        rcpt_to: everything goes to this address instead; "" leaves recipients alone.
    """

    allowed: tuple[str, ...] = ()
    rcpt_to: str = ""

    def is_allowed(self, address: str) -> bool:
        """Whether a target off loopback may be told of this recipient."""
        folded = address.lower()
        return bool(self.rcpt_to) or any(fnmatchcase(folded, glob.lower()) for glob in self.allowed)

    def recipient_line(self, raw: bytes) -> bytes:
        """A RCPT command as it is to be sent: its parameters stay, its address may not."""
        if not self.rcpt_to:
            return raw
        replaced, count = _PATH.subn(
            lambda match: match[1] + b"<" + self.rcpt_to.encode() + b">", raw, count=1
        )
        return replaced if count else b"RCPT TO:<" + self.rcpt_to.encode() + b">\r\n"


def read_rcpt_to(text: str) -> str:
    """The address that a user wrote for `--rcpt-to`, without its angle brackets.

    Raises:
        ConfigError: it is none, or holds what no command may carry.
    """
    address = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    if not _ADDRESS.fullmatch(address):
        raise ConfigError(f"--rcpt-to {text!r} is not an address: write one such as me@example.com")
    return address


def require_allowed(scripts: Sequence[tuple[str, tuple[str, ...]]], envelope: Envelope, target: str) -> None:
    """See to it that no real person gets mail by accident.

    Args:
        scripts: where each comes from, and its recipients.
        envelope: what the user allows.
        target: where they would go, for people; off loopback.

    Raises:
        ReplayError: somebody would get mail whom the user did not name; says the line to add.
    """
    refused: dict[str, str] = {}
    for name, recipients in scripts:
        for address in recipients:
            if not envelope.is_allowed(address):
                refused.setdefault(address, name)
    if not refused:
        return
    some = list(refused)[:MAX_SHOWN]
    shown = ", ".join(some) + (f" and {len(refused) - len(some)} more" if len(refused) > len(some) else "")
    domains = dict.fromkeys(address.rpartition("@")[2] for address in refused)
    globs = " ".join(f"--allow-rcpt '*@{domain}'" for domain in list(domains)[:MAX_SHOWN])
    example = next(iter(refused.values()))
    raise ReplayError(
        f"{target} is off this machine, and {shown} would get real mail ({example}); nothing was connected."
        f" Add --rcpt-to YOUR@ADDRESS to get it all yourself, or {globs} to allow it"
    )


def hidden_recipient(step: Step) -> str:
    """Why this step could name a recipient that no check sees; "" where it cannot.

    Servers differ in what they take for a line's end, so that a line or a message may be several to them.
    """
    line = step.raw.removesuffix(b"\n").removesuffix(b"\r")
    if step.kind in ("command", "auth") and (b"\r" in line or b"\0" in line):
        return "its line holds a bare CR or NUL, which some servers take for the end of a command"
    if step.kind == "command" and step.verb == "RCPT" and not _is_plain_recipient(step.raw):
        return "its address is written in a way that servers read differently"
    if step.kind == "content" and step.body is not None:
        tail = b"\r\n"
        for piece in step.body.pieces():
            spelt = lenient_terminator_in(tail + piece)
            if spelt:
                return f"its content holds {spelt}, which some servers take for the end of a message"
            tail = (tail + piece)[-_SEAM_BYTES:]
        spelt = lenient_terminator_in(tail + b".\r\n") if not tail.endswith(b"\r\n") else None
        if spelt:
            return f"its content ends in {spelt}, which some servers take for the end of a message"
    return ""


def _is_plain_recipient(raw: bytes) -> bool:
    match = _PATH.match(raw)
    if match is None:
        return False
    behind = raw[match.end() :]
    # What follows the path is parameters (RFC 5321 4.1.1.11), and no second path; a source route would have
    # an old server ask another host first (RFC 5321 C).
    return b"<" not in behind and behind[:1] in (b" ", b"\t", b"\r", b"\n", b"") and match[2][:2] != b"<@"


def recipients_of(script: Script) -> Iterator[str]:
    """The addresses that would be sent, as the octets have them."""
    for step in script.steps:
        if step.kind == "command" and verb_of(step.raw) == "RCPT":
            match = _PATH.match(step.raw)
            path = match[2].decode("utf-8", "backslashreplace") if match else address_of(step.raw)
            yield path[1:-1] if path.startswith("<") and path.endswith(">") else path
