"""What holds for every session, whatever both sides say: a structure-aware fuzz of the relay.

SMTPPROXY_FUZZ_EXAMPLES raises the number of examples of these laws alone, to millions for a night.
"""

import itertools
import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from smtpproxy.session.decisions import Answer, Decision, Delay, Drop
from smtpproxy.session.events import Opaque, Tls, octets_of
from tests.session.harness import Scene
from tests.session.strategies import Step, interleavings, relay_options

EXAMPLES = int(os.environ.get("SMTPPROXY_FUZZ_EXAMPLES") or os.environ.get("SMTPPROXY_EXAMPLES", "200"))
endings = st.sampled_from(
    ["", "client-eof", "server-eof", "client-reset", "server-reset", "idle", "shutdown", "linger", "drain"]
)


def play(steps: list[Step], options: dict[str, Any]) -> Scene:
    """A session in which these octets arrive, one read each."""
    scene = Scene(**options)
    for side, data in steps:
        scene.peer(side).says(data)
    return scene


def conclude(scene: Scene, ending: str) -> None:
    """One more thing happens, then the end."""
    match ending:
        case "client-eof":
            scene.client.leaves()
        case "server-eof":
            scene.server.leaves()
        case "client-reset":
            scene.client.resets()
        case "server-reset":
            scene.server.resets()
        case "shutdown":
            scene.shuts_down()
        case "idle" | "linger" | "drain":
            scene.passes(ending, 900.0)
        case _:
            pass


@settings(max_examples=EXAMPLES)
@given(steps=interleavings, options=relay_options, ending=endings, more=interleavings)
def test_nothing_raises_and_every_octet_is_recorded_once(
    steps: list[Step], options: dict[str, Any], ending: str, more: list[Step]
) -> None:
    scene = play(steps, options)
    conclude(scene, ending)
    for side, data in more:
        if not scene.peer(side).has_left:
            scene.peer(side).says(data)
    scene.finish()


@settings(max_examples=EXAMPLES)
@given(steps=interleavings, options=relay_options, ending=endings, cuts=st.data())
def test_any_chunking_gives_the_same_octets_and_events(
    steps: list[Step], options: dict[str, Any], ending: str, cuts: st.DataObject
) -> None:
    """Compared: what both sides hear, how they end, and every event but its time.

    Not compared: where opaque octets are cut (they are joined, and the numbers of events counted anew), what
    came after the end, and when a handshake stood beside what the other side said meanwhile. Octets glued to
    STARTTLS are injection because they are glued: left out.
    """
    whole = play(steps, options)
    if "starttls-injection" in whole.findings:
        return
    sizes = cuts.draw(st.lists(st.integers(1, 9), max_size=6)) or [1]
    pieces: list[Step] = []
    for side, data in steps:
        pos = 0
        while pos < len(data):
            size = sizes[len(pieces) % len(sizes)]
            pieces.append((side, data[pos : pos + size]))
            pos += size
    cut = play(pieces, options)
    for scene in (whole, cut):
        conclude(scene, ending)
        scene.finish()
    assert cut.client.heard == whole.client.heard
    assert cut.server.heard == whole.server.heard
    assert (cut.client.ended, cut.server.ended) == (whole.client.ended, whole.server.ended)
    assert comparable(cut) == comparable(whole)


def comparable(scene: Scene) -> list[dict[str, Any]]:
    """The events without times, opaque octets joined, numbered anew."""
    rows: list[dict[str, Any]] = []
    numbers: dict[Any, int] = {UNSET: -1}
    for event in scene.events:
        if isinstance(event, Tls):
            continue
        row: dict[str, Any] = {"kind": type(event), **msgspec.structs.asdict(event)}
        del row["t"]
        if isinstance(event, Opaque):
            row["raw"], row["raw_b64"] = octets_of(event), UNSET
            if event.to == "proxy":
                continue
            if rows and rows[-1]["kind"] is Opaque and rows[-1]["from_"] == event.from_:
                rows[-1]["raw"] += row["raw"]
                continue
        numbers[event.n] = row["n"] = len(rows)
        for key in ("about", "answers"):
            if key in row:
                row[key] = numbers.get(row[key], -2)
        rows.append(row)
    return rows


@settings(max_examples=EXAMPLES)
@given(steps=interleavings, options=relay_options)
def test_octets_pass_unchanged_but_for_what_is_declared(steps: list[Step], options: dict[str, Any]) -> None:
    """To the server only EHLO, LHLO and STARTTLS are ours; to the client EHLO replies and our own words."""
    scene = play(steps, options)
    asked = [octets_of(event).split()[0] for event in scene.spoken(from_="proxy", to="server")]
    assert all(verb.upper() in (b"EHLO", b"LHLO", b"STARTTLS") for verb in asked)
    if asked or scene.options.is_client_tls or scene.options.accept_proxy_protocol:
        return
    kept_back = scene.spoken(from_="client", to="proxy")
    if not kept_back:
        assert scene.client.said.startswith(scene.server.heard)
    if not scene.spoken(from_="proxy", to="client") and not scene.spoken(from_="server", to="proxy"):
        assert scene.server.said.startswith(scene.client.heard)


@settings(max_examples=EXAMPLES)
@given(steps=interleavings)
def test_nothing_but_greeting_words_ever_goes_in_clear_before_the_upgrade(steps: list[Step]) -> None:
    scene = Scene(server_tls="starttls")
    scene.server.is_slow = True  # the handshake never ends: all that the server hears is in clear
    for side, data in steps:
        if side == "client" or not scene.server.is_shaking:
            scene.peer(side).says(data)
    for line in bytes(scene.server.heard).rstrip(b"\n").split(b"\n"):
        verb = (line.split() or [b"NOOP"])[0].upper()
        assert verb in (b"EHLO", b"LHLO", b"NOOP", b"RSET", b"HELP", b"QUIT", b"STARTTLS")
    scene.finish()


answers = st.sampled_from(
    [
        (b"250 ok\r\n",),
        (b"250-a\r\n250 b\r\n",),
        (b"354 go\r\n",),
        (b"334 \r\n",),
        (b"220 go\r\n",),
        (b"235 in\r\n",),
        (b"550 no\r\n",),
        (b"250 one\r\n", b"550 two\r\n"),
        (),
    ]
)
plain_decisions = st.one_of(
    st.builds(Answer, answers, close=st.sampled_from([False, False, False, True])),
    st.builds(Drop, is_reset=st.booleans()),
)
decisions = st.one_of(
    st.builds(Answer, answers), plain_decisions, st.builds(Delay, st.just(1.0), plain_decisions)
)


@settings(max_examples=EXAMPLES)
@given(steps=interleavings, wanted=st.lists(decisions, min_size=1, max_size=12), ending=endings)
def test_a_policy_may_answer_as_it_likes(steps: list[Step], wanted: list[Decision], ending: str) -> None:
    given_out = itertools.cycle(wanted)
    scene = Scene(policy=lambda turn: next(given_out))
    for side, data in steps:
        if side == "client":
            scene.client.says(data)
        elif "delay" in scene.waits:
            scene.passes("delay")
    if not ending.startswith("server"):
        conclude(scene, ending)
    scene.finish()
