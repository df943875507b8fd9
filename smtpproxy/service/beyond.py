"""A listener with two ways: to recorded sessions while there are any, then to a server; it opens neither."""

from collections.abc import Callable
from dataclasses import replace

from smtpproxy.net.route import Route
from smtpproxy.session.decisions import Policy


def lead_beyond(played: Route, beyond: Route, *, left: Callable[[], int]) -> Route:
    """The route to recorded sessions, whose listener leads the sessions that are too many for it elsewhere.

    Args:
        played: the mock's.
        beyond: the way of all sessions for which nothing is left.
        left: how many recorded sessions can still be given out.
    """
    make_policy = played.make_policy
    assert make_policy is not None
    # A session is promised a recording when it is accepted, and takes it when it is greeted: in between
    # others are accepted, and under TLS a whole handshake passes. At its end, at the latest, it is made.
    promised = 0

    def choose() -> Route:
        nonlocal promised
        if left() <= promised:
            return beyond
        promised += 1
        return taking

    def take(client: str) -> Policy:
        nonlocal promised
        promised -= 1
        return make_policy(client)

    taking = replace(played, make_policy=take)
    return replace(taking, choose=choose)
