"""The stage for sessions; when a test is over, each session's record is checked against the laws."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.session.harness import Scene


@pytest.fixture
def stage() -> Iterator[Callable[..., Scene]]:
    """`stage(server_tls="starttls")`: a session that has begun, its server connected."""
    scenes: list[Scene] = []

    def begin(**options: Any) -> Scene:
        scenes.append(Scene(**options))
        return scenes[-1]

    yield begin
    for scene in scenes:
        scene.finish()
