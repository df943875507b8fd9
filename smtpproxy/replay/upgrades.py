"""TLS in a replay: taken where it was recorded or where the target's URL says, missed where it should be.

It knows when a handshake is due and what it means, and nothing of how one is made.
"""

from typing import Final

from smtpproxy.replay.exchange import Gone, Upgrade, Upgraded
from smtpproxy.replay.live import Live, Part
from smtpproxy.replay.script import Step
from smtpproxy.replay.transactions import HELLOS, code_of, skipped_under_tls

HARMLESS_IN_CLEAR: Final = frozenset(("QUIT", "NOOP", "RSET", "HELP", "STARTTLS"))
"""What need not wait for an upgrade that the URL demands."""


class Upgrades(Live):
    """A session being played, and its TLS."""

    _has_told_upgrade = False
    _upgrade_missed_at: Step | None = None

    @property
    def _leads_to_tls(self) -> int:
        """How many steps from the first only lead to a TLS that stands already."""
        return skipped_under_tls(self._script.steps) if self._plan.is_tls else 0

    def _begin_tls(self, first: Step, *, is_tls: bool) -> None:
        """Compare how TLS stands before the greeting."""
        self._is_tls = is_tls
        if is_tls and not any(step.is_tls for step in self._script.steps):
            self._tell_extra_upgrade(first)
        elif self._script.is_implicit_tls and not is_tls:
            self._tell_missing_upgrade(first)
        for step in self._script.steps[1 : self._leads_to_tls]:
            self._ledger.ignored(step, "only leads to TLS, which stands from the first octet")

    def _is_needless(self, position: int) -> bool:
        """Whether a step is left out because TLS stands already."""
        if position < self._leads_to_tls:
            return True
        step = self._script.steps[position]
        is_upgraded_by_us = self._plan.is_tls or self._plan.must_upgrade
        if step.verb == "STARTTLS" and step.kind == "command" and self._is_tls and is_upgraded_by_us:
            self._ledger.ignored(step, "TLS stands already")
            return True
        return False

    def _must_upgrade_before(self, position: int) -> bool:
        """Whether our own upgrade is due: the hello leads to none by itself, or this may not go in clear."""
        if self._is_tls or not self._plan.must_upgrade:
            return False
        step = self._script.steps[position]
        if step.verb in HELLOS and step.kind == "command":
            following = self._script.steps[position + 1 : position + 2]
            return not (following and following[0].verb == "STARTTLS" and code_of(following[0]) == 220)
        return step.verb not in HARMLESS_IN_CLEAR

    def _upgrade_on_demand(self, step: Step) -> Part[None]:
        """EHLO and STARTTLS where the recording has none: the target's URL demands it."""
        words = step.raw.split() if step.verb in HELLOS else []
        name = words[1] if len(words) > 1 else b"localhost"
        yield from self._say((b"EHLO " + name + b"\r\n",))
        if not (yield from self._hear_aside(step)):
            self._refuse(step, "the connection ended before STARTTLS could be said")
            return
        yield from self._say((b"STARTTLS\r\n",))
        code = yield from self._hear_aside(step)
        if code == 220:
            yield from self._shake(step)
        else:
            self._refuse(step, f"STARTTLS was answered {code}" if code else "STARTTLS was not answered")

    def _refuse(self, step: Step, reason: str) -> None:
        self._ledger.differs(
            step,
            "tls",
            f"missing upgrade: {reason}, and {self._plan.target} lets nothing go out in clear",
            expected="TLS",
            actual="clear text",
            fix=f"write smtp://{self._plan.target.hostport} to go without, if that is right",
        )
        self._end(step)

    def _follow_starttls(self, step: Step) -> Part[None]:
        """The server's reply to a recorded STARTTLS decides whether a handshake follows (RFC 3207 4)."""
        if self._ended_by is not None:
            return
        if self._last_code == 220:
            yield from self._shake(step)
        elif self._plan.must_upgrade:
            self._refuse(step, f"STARTTLS was answered {self._last_code}")
        elif code_of(step) == 220:
            self._tell_missing_upgrade(step)

    def _shake(self, step: Step) -> Part[None]:
        told = yield Upgrade()
        if isinstance(told, Upgraded) and not told.tls.error:
            self._last_at = told.at
            self._is_tls = True
            # RFC 3207 4.2: what was learnt in clear does not count any more.
            self._offers = frozenset()
            self._forget_mail()
            if not any(other.is_tls for other in self._script.steps):
                self._tell_extra_upgrade(step)
            return
        failure = told.tls if isinstance(told, Upgraded | Gone) else None
        reason = told.reason if isinstance(told, Gone) else "no handshake"
        self._ledger.differs(
            step,
            "tls",
            f"STARTTLS was taken, and TLS does not stand: {failure.error if failure is not None else reason}",
            expected="TLS",
            fix=failure.advice if failure is not None else "",
        )
        self._is_gone = True
        self._end(step)

    def _tell_missing_upgrade(self, step: Step) -> None:
        if not self._has_told_upgrade:
            self._has_told_upgrade = True
            self._upgrade_missed_at = step
            self._ledger.differs(
                step,
                "tls",
                "missing upgrade: this was encrypted when it was recorded, and is not now",
                expected="TLS",
                actual="clear text",
                fix="write smtps:// or smtp+starttls:// in --to, if the server can do that",
            )

    def _tell_extra_upgrade(self, step: Step) -> None:
        if self._has_told_upgrade:
            return
        self._has_told_upgrade = True
        text = "extra upgrade: the connection is encrypted, and was not when it was recorded"
        if self._rules.rule_for(step, None).ignore:
            self._ledger.note(step, text)
            return
        fix = self._rules.fix(None, step, '"ignore":true')
        self._ledger.differs(step, "tls", text, expected="clear text", actual="TLS", fix=fix)
