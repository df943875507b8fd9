"""Whether scripts may be played as the user asks: looked at one by one before anything is connected.

It remembers of each script only what a refusal or a prompt would say, not the script.
"""

from typing import Final

from smtpproxy.errors import ReplayError
from smtpproxy.replay.credentials import Login
from smtpproxy.replay.envelope import recipients_of, require_allowed
from smtpproxy.replay.plan import Plan, logins_of, obstacles_of
from smtpproxy.replay.script import Script

MAX_SHOWN: Final = 5


class Clearance:
    """What stands in the way of a replay, as far as its scripts have been looked at.

    Attributes:
        sessions: how many scripts.
        steps: of all of them together.
        logins: those that need a secret, one for each account and kind of secret.
    """

    def __init__(self, plan: Plan) -> None:
        self.sessions = 0
        self.steps = 0
        self.logins: dict[tuple[str, str], tuple[str, Login]] = {}
        self._plan = plan
        self._obstacles: list[str] = []
        self._obstacle_count = 0
        self._recipients: list[tuple[str, tuple[str, ...]]] = []

    def look_at(self, script: Script) -> None:
        """Take note of one more script."""
        self.sessions += 1
        self.steps += len(script.steps)
        name = place_of(script)
        for obstacle in obstacles_of(script, self._plan):
            self._obstacle_count += 1
            if len(self._obstacles) < MAX_SHOWN:
                self._obstacles.append(f"{name}: step {obstacle.step} (event {obstacle.n}): {obstacle.text}")
        for login in logins_of(script):
            self.logins.setdefault((login.identity, login.kind), (name, login))
        if not self._plan.is_loopback:
            recipients = tuple(dict.fromkeys(recipients_of(script)))
            if recipients:
                self._recipients.append((name, recipients))

    def missing_logins(self) -> list[tuple[str, Login]]:
        """Where a secret is needed that was not given, once for each account."""
        return [
            (name, login)
            for name, login in self.logins.values()
            if self._plan.credentials.find(login) is None
        ]

    def require_playable(self) -> None:
        """See to it that all of it can be played.

        Raises:
            ReplayError: something cannot be sent as it is recorded; names file, step and event.
        """
        if self._obstacle_count:
            more = self._obstacle_count - len(self._obstacles)
            told = "; ".join(self._obstacles) + (f"; and {more} more" if more > 0 else "")
            raise ReplayError(f"cannot be replayed, and nothing was connected: {told}")

    def require_allowed(self) -> None:
        """See to it that nobody gets mail by accident.

        Raises:
            ReplayError: a recipient was not allowed; says the line to add.
        """
        require_allowed(self._recipients, self._plan.envelope, self._plan.dialled or str(self._plan.target))

    def require_logins(self) -> None:
        """See to it that every login has its secret.

        Raises:
            ReplayError: one has not; names the step, and says how to give it.
        """
        missing = self.missing_logins()
        if missing:
            name, login = missing[0]
            more = f" ({len(missing) - 1} more accounts lack theirs)" if len(missing) > 1 else ""
            raise ReplayError(f"{name}: {needs(login)}{more}")


def needs(login: Login) -> str:
    """What a login lacks, and how it is given."""
    account = f" as {login.identity}" if login.identity else ""
    variable = "SMTPPROXY_PASSWORD" if login.kind == "password" else "SMTPPROXY_TOKEN"
    user = "" if login.identity else " and SMTPPROXY_USERNAME"
    return (
        f"step {login.step} (AUTH {login.mechanism}{account}) needs a {login.kind}, which no recording holds:"
        f" set {variable}{user}, or name a file with --credentials"
    )


def place_of(script: Script) -> str:
    """Where a script is recorded, for people."""
    return f"{script.source}:{script.line}" if script.line else f"{script.source} session {script.session}"
