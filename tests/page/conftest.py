"""A real browser, and running proxies for it to look at; tests here see only what a person would.

Without Chromium or Playwright they are skipped, saying what to install; .ci/run installs both.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.page.proxies import WatchedProxy
from tests.programs import program

if TYPE_CHECKING:
    from tests.page.browsing import Browser, Page

BUILD = Path(__file__).parents[2] / "build" / "page"
LIBRARY = Path(__file__).parents[2] / "replay"
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
TALL = {"width": 1280, "height": 5000}
PATIENCE_MS = 15_000


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """One Chromium for all of these tests."""
    chromium = program("chromium")
    # Here, since a conftest that cannot be imported fails, where a test module is skipped.
    from tests.page.browsing import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Without its own sandbox, since CI runs as root; all it ever opens is the page under test.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedProxy]:
    """A proxy in front of the sandbox, that a module's tests share."""
    with WatchedProxy(tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedProxy]:
    """A proxy whose log holds the library of recorded sessions."""
    with WatchedProxy(tmp_path_factory.mktemp("library")) as proxy:
        proxy.take(*sorted(LIBRARY.glob("*.smtp.jsonl")))
        yield proxy


@pytest.fixture
def own_proxy(tmp_path: Path) -> Iterator[WatchedProxy]:
    """A proxy of this test's own."""
    with WatchedProxy(tmp_path) as proxy:
        yield proxy


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """`visit(url)`: a page in a context of its own; what goes wrong in its scripts fails the test."""
    contexts = []
    problems: list[str] = []

    def open_page(
        url: str, *, is_dark: bool = False, is_phone: bool = False, is_tall: bool = False
    ) -> "Page":
        context = browser.new_context(
            viewport=PHONE if is_phone else TALL if is_tall else WIDE,  # type: ignore[arg-type]
            color_scheme="dark" if is_dark else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
