"""What holds for every session, whatever both sides say: a structure-aware fuzz of the relay.

SMTPPROXY_FUZZ_EXAMPLES raises the number of examples.
"""

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session.harness import Scene
from tests.session.strategies import Step, interleavings, relay_options

EXAMPLES = int(os.environ.get("SMTPPROXY_FUZZ_EXAMPLES", "200"))
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
