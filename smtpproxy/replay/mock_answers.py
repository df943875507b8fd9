"""What a mock says: the recorded replies as they were, or our own; it matches nothing."""

from collections.abc import Sequence
from typing import Final

from smtpproxy.replay.script import ReplyStep, Script, Step
from smtpproxy.session.decisions import Answer, Decision, Delay, Drop
from smtpproxy.wire.ehlo import StartTlsShown, with_starttls
from smtpproxy.wire.replies import parse_reply_line, render_reply

MAX_PACE_S: Final = 600.0
"""Of a recorded latency; a file can hold any number."""
_CLIENT_ENDED: Final = frozenset({"", "quit", "client-eof", "client-reset", "client-tls"})
"""Endings that were the client's doing; at all others the other end closed."""
_REFUSALS: Final[dict[str, tuple[int, str]]] = {
    # RFC 2034 3: no enhanced code in reply to these.
    "EHLO": (550, ""),
    "HELO": (550, ""),
    "LHLO": (550, ""),
    "MAIL": (550, "5.5.0 "),
    "RCPT": (550, "5.5.0 "),
    "DATA": (554, "5.5.0 "),
    "BDAT": (554, "5.5.0 "),
    ".": (554, "5.5.0 "),
    "STARTTLS": (502, "5.5.1 "),
    "VRFY": (550, "5.5.0 "),
    # Not 503: that says "you are logged in already" (RFC 4954 4), and clients go on as if they were.
    "AUTH": (504, "5.5.4 "),
}
"""How a command that does not match is refused; all others are out of sequence (RFC 5321 4.2.2)."""
_OUT_OF_SEQUENCE: Final = (503, "5.5.1 ")


def refuse(verb: str, text: str, *, times: int = 1) -> Answer:
    """The reply to what does not match."""
    code, status = _REFUSALS.get(verb, _OUT_OF_SEQUENCE)
    return Answer((render_reply(code, f"{status}smtpproxy mock: {text}"),) * times)


def refuse_clear() -> Answer:
    """RFC 3207 4: what wants TLS first is refused with 530."""
    return Answer(
        (render_reply(530, "5.7.0 smtpproxy mock: this was recorded under TLS; STARTTLS comes first"),)
    )


class RecordedAnswers:
    """The replies of one script."""

    def __init__(self, script: Script, *, has_pace: bool) -> None:
        self._steps = script.steps
        self._reason = script.reason
        self._has_pace = has_pace
        self._is_server_ended = script.reason not in _CLIENT_ENDED
        self._last_answered = max(
            (at for at, step in enumerate(self._steps) if step.replies or step.unasked), default=0
        )

    def is_last(self, at: int) -> bool:
        """Whether nothing was said any more after this step."""
        return at == len(self._steps) - 1

    def cuts_off(self, at: int) -> bool:
        """Whether the server ended the session in the middle of this message."""
        return self._is_server_ended and self.is_last(at) and not self._steps[at].is_last

    def decide(self, at: int, *, starttls: StartTlsShown = "keep", reply: bytes = b"") -> Decision:
        """What step `at` (an index) was answered, and whether the session ended with it.

        Args:
            at: which step.
            starttls: what the app is to see of it in an EHLO reply.
            reply: said in place of the recorded replies.
        """
        step = self._steps[at]
        replies, unasked = self._replies(at), self._unasked(at)
        if not replies:
            replies, unasked = unasked, ()
        raws = (reply,) if reply else tuple(one.raw for one in replies)
        if not raws and self._is_server_ended and at > self._last_answered:
            return Drop(is_reset=self._reason == "server-reset")
        if not raws and step.verb == "QUIT":
            raws = (render_reply(221, "2.0.0 Bye"),)  # the recorded app did not wait for it
        if starttls != "keep" and step.verb in ("EHLO", "LHLO") and raws:
            raws = (_with_starttls(raws[0], starttls), *raws[1:])
        answer = Answer(
            raws,
            close=self._is_server_ended and self.is_last(at),
            unasked=tuple(one.raw for one in unasked),
        )
        if self._has_pace and replies:
            seconds = min(max(replies[0].t - step.t, 0.0), MAX_PACE_S)
            return Delay(seconds, answer) if seconds > 0 else answer
        return answer

    def _replies(self, at: int) -> Sequence[ReplyStep]:
        step = self._steps[at]
        return step.replies[:1] if _is_upgrade(step) else step.replies

    def _unasked(self, at: int) -> Sequence[ReplyStep]:
        return () if _is_upgrade(self._steps[at]) else self._steps[at].unasked


def _is_upgrade(step: Step) -> bool:
    return step.verb == "STARTTLS" and step.tls is not None


def unsayable(steps: Sequence[Step]) -> tuple[Step, ReplyStep] | None:
    """A recorded reply that is none (RFC 5321 4.2), so that no client could read it; or None."""
    for step in steps:
        for reply in (*step.replies, *step.unasked):
            *lines, rest = reply.raw.split(b"\n")
            heads = [parse_reply_line(line) for line in lines]
            # A line in the middle may be anything but the end of the reply.
            is_cut = any(code is not None and is_last for code, is_last in heads[:-1])
            if rest or not heads or heads[0][0] is None or heads[-1][0] is None or is_cut:
                return step, reply
    return None


def _with_starttls(raw: bytes, shown: StartTlsShown) -> bytes:
    lines = [line + b"\n" for line in raw.split(b"\n")[:-1]]
    if any(parse_reply_line(line)[0] != 250 for line in lines):
        return raw
    return b"".join(with_starttls(lines, is_shown=shown == "show"))
