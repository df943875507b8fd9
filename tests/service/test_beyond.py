"""Sessions for which a recording is left are played; the others are led beyond."""

from smtpproxy.endpoints import parse_endpoint
from smtpproxy.net.route import Route
from smtpproxy.service.beyond import lead_beyond
from smtpproxy.session.decisions import Connected, Decision, Forward, Policy, Turn
from smtpproxy.session.options import RelayOptions


class Recordings:
    """So many sessions; each is taken when its policy is asked."""

    def __init__(self, left: int) -> None:
        self.left = left

    def open(self, client: str) -> Policy:
        def decide(turn: Turn) -> Decision:
            self.left -= isinstance(turn, Connected)
            return Forward()

        return decide


def routes(recordings: Recordings) -> tuple[Route, Route]:
    listen = parse_endpoint("smtp://127.0.0.1:1025", is_listen=True)
    server = parse_endpoint("smtp://mx.example.com", is_listen=False)
    beyond = Route(name="beyond", listen=listen, upstream=server, options=RelayOptions())
    played = Route(
        name="played", listen=listen, upstream=server, options=RelayOptions(), make_policy=recordings.open
    )
    return lead_beyond(played, beyond, left=lambda: recordings.left), beyond


def choose(route: Route) -> Route:
    assert route.choose is not None
    return route.choose()


def greet(route: Route) -> None:
    """The session takes its recording."""
    assert route.make_policy is not None
    route.make_policy("127.0.0.1:50312")(Connected(client="127.0.0.1:50312"))


def test_the_first_are_played_the_rest_goes_beyond() -> None:
    route, beyond = routes(Recordings(2))
    for _ in range(2):
        chosen = choose(route)
        assert chosen.name == "played"
        greet(chosen)
    assert choose(route) is beyond


def test_a_recording_is_promised_to_one_session_only() -> None:
    # Both are accepted before either is greeted.
    route, beyond = routes(Recordings(1))
    first = choose(route)
    assert first.name == "played"
    assert choose(route) is beyond
    greet(first)
    assert choose(route) is beyond


def test_a_recording_that_was_given_back_is_there_for_the_next() -> None:
    recordings = Recordings(1)
    route, _ = routes(recordings)
    greet(choose(route))
    recordings.left += 1  # a probe: it connected and left
    assert choose(route).name == "played"


def test_with_nothing_recorded_all_goes_beyond() -> None:
    route, beyond = routes(Recordings(0))
    assert choose(route) is beyond
