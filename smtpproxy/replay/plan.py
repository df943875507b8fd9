"""How a recording is to be rerun against a server, and what stands in the way; it plays nothing.

All of it is the user's: target, credentials and recipients never come from a recording.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from smtpproxy.endpoints import Endpoint
from smtpproxy.recording.overrides import Level
from smtpproxy.recording.spans import PLACEHOLDER
from smtpproxy.replay.credentials import SECRET_OF, CredentialBook, Login
from smtpproxy.replay.envelope import Envelope, hidden_recipient
from smtpproxy.replay.script import Obstacle, Script, Step
from smtpproxy.replay.transactions import code_of
from smtpproxy.wire.commands import argument_of, parse_bdat, verb_of, word_spans
from smtpproxy.wire.content import TerminatorScanner

REPLY_TIMEOUT_S: Final = 300.0
"""RFC 5321 4.5.3.2: five minutes for a reply."""
CONTENT_TIMEOUT_S: Final = 600.0
"""RFC 5321 4.5.3.2.6: ten minutes for the reply to a message."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for.

    Attributes:
        target: whom to talk to; its scheme says how TLS starts.
        dialled: what is dialled, for people; "" where that is the target's own address.
        is_loopback: the address dialled is on this machine.
        credentials: for AUTH.
        envelope: who may get mail.
        level: how replies are compared; None leaves it to the recording's header.
        strict_ehlo: a keyword that was added is a difference too.
        retry_4xx: how often a transaction that was put off (4xx) is tried again.
        retry_after_s: seconds before the first such retry; doubled for each further one.
        speed: 0 waits for nothing but replies; 1 keeps the recorded pace, 2 is twice as fast.
        timeout_s: for each reply; 0 is RFC 5321's.
        make_nonce: gives SCRAM's.
    """

    target: Endpoint
    dialled: str = ""
    is_loopback: bool
    credentials: CredentialBook = CredentialBook()
    envelope: Envelope = Envelope()
    level: Level | None = None
    strict_ehlo: bool = False
    retry_4xx: int = 0
    retry_after_s: float = 1.0
    speed: float = 0.0
    timeout_s: float = 0.0
    make_nonce: Callable[[], str] = lambda: secrets.token_hex(16)

    @property
    def is_tls(self) -> bool:
        """TLS from the first octet."""
        return self.target.scheme == "smtps"

    @property
    def must_upgrade(self) -> bool:
        """Nothing but EHLO may go out in clear."""
        return self.target.scheme == "smtp+starttls"


def obstacles_of(script: Script, plan: Plan) -> Iterator[Obstacle]:
    """Why a script cannot be rerun as asked, step by step; recipients and secrets are looked at elsewhere."""
    yield from script.obstacles
    for position, step in enumerate(script.steps):
        is_final = position == len(script.steps) - 1
        text = _fault_of(step, is_final=is_final)
        if not text and step.redacted and step.kind == "command" and step.verb != "AUTH":
            text = f"its {step.redacted[0].kind} was kept out of the recording, and cannot be made up"
        is_secret_login = step.verb == "AUTH" and step.kind == "command" and is_recomputed(script, position)
        if not text and is_secret_login and step.mechanism not in SECRET_OF:
            text = f"AUTH {step.mechanism or '?'} cannot be recomputed; {', '.join(SECRET_OF)} can"
        if not text and not plan.is_loopback:
            text = hidden_recipient(step)
        if text:
            yield Obstacle(n=step.n, step=step.number, text=text)


def logins_of(script: Script) -> Iterator[Login]:
    """The logins that need a secret of the user's: those that went well when they were recorded.

    One that was refused is rerun with a made-up secret, and is refused again.
    """
    for position, step in enumerate(script.steps):
        is_known = step.kind == "command" and step.verb == "AUTH" and step.mechanism in SECRET_OF
        if is_known and is_recomputed(script, position) and not is_refused(script, position):
            yield login_at(script, position)


def login_steps(script: Script, position: int) -> tuple[Step, ...]:
    """AUTH at that position, with the SASL lines that follow it."""
    end = position + 1
    while end < len(script.steps) and script.steps[end].kind == "auth":
        end += 1
    return script.steps[position:end]


def is_refused(script: Script, position: int) -> bool:
    """Whether the AUTH at that position came to nothing in the recording: refused, or cancelled."""
    return code_of(login_steps(script, position)[-1]) >= 400


def login_at(script: Script, position: int) -> Login:
    """The AUTH at that position, whether it needs a secret or not; its mechanism may be unknown."""
    step = script.steps[position]
    identity = next((other.identity for other in login_steps(script, position) if other.identity), "")
    return Login(step=step.number, mechanism=step.mechanism, identity=identity)


def is_recomputed(script: Script, position: int) -> bool:
    """Whether the AUTH at that position has secrets to put in; else it can be sent as it was recorded.

    No response to a challenge reads like the placeholder: it counts also where a file has lost its span.
    """
    return any(step.redacted or PLACEHOLDER in step.raw for step in login_steps(script, position))


def _fault_of(step: Step, *, is_final: bool) -> str:
    """Why what would be sent is not what the recording calls it; a file may have been written by anybody."""
    is_line = b"\n" not in step.raw[:-1] and (step.raw.endswith(b"\n") or is_final)
    if step.kind in ("command", "auth") and not is_line:
        return "it is not one line"
    if step.kind == "command" and verb_of(step.raw) != step.verb:
        return f"its line does not begin with {step.verb}"
    if step.kind == "command" and step.verb == "BDAT":
        return _chunk_fault(step, is_final=is_final)
    if step.kind == "content" and step.body is not None and step.body.is_kept:
        scanner = TerminatorScanner()
        if any(scanner.scan(piece) >= 0 for piece in step.body.pieces()):
            return "its content holds the end of a message"
    return ""


def _chunk_fault(step: Step, *, is_final: bool) -> str:
    size = parse_bdat(argument_of(step.raw))
    octets = step.body.octets if step.body is not None else 0
    if size is None:
        return "" if not octets else "its size cannot be read"
    if size != (octets, step.is_last) and not (is_final and octets < size[0]):
        return f"it announces {size[0]} octets, and {octets} follow"
    return ""


def has_initial_response(step: Step) -> bool:
    """Whether an AUTH command had something behind the mechanism (RFC 4954 4)."""
    return len(word_spans(step.raw)) > 2
