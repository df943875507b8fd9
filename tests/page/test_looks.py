"""Every view in light, dark and at phone width: a screenshot in build/page, nothing for axe-core to find."""

from collections.abc import Callable

import pytest

from tests.page.browsing import Axe, Page, expect
from tests.page.conftest import BUILD, LIBRARY
from tests.page.proxies import WatchedProxy, invoice

Visit = Callable[..., Page]

RECORDED = {
    "upgraded": "postfix-upgraded-by-the-proxy",
    "starttls": "postfix-auth-login",
    "pipelined": "postfix-pipelining",
    "slow": "sandbox-slow-1",
}
"""Sessions of the library by what they show."""

VIEWS = {
    "list": ("#/", ".row"),
    "bad-filter": ("#/?q=code:5xx fron:ada", "#filter-problem pre"),
    "upgraded": ("#/{upgraded}", ".is-ehlo"),
    "starttls": ("#/{starttls}", ".secret"),
    "pipelined": ("#/{pipelined}", ".is-group-last"),
    "timing": ("#/{slow}/timing", ".step.is-slow"),
    "html": ("#/latest/message/1/html", ".html-frame"),
    "text": ("#/latest/message/1/text", ".view pre"),
    "headers": ("#/latest/message/1/headers", ".headers"),
    "parts": ("#/latest/message/1/parts", ".tree"),
    "source": ("#/latest/message/1/source", ".view pre"),
    "files": ("#/latest/message/1/files", ".files"),
}
"""What is looked at: where it is, and what is there once it has come."""

LOOKS = {"light": {}, "dark": {"is_dark": True}, "phone": {"is_phone": True}}


@pytest.fixture(scope="module")
def ids(library: WatchedProxy) -> dict[str, str]:
    """Where the recorded sessions are."""
    library.send(
        invoice(), mail_from="bounces@example.com", rcpt_to=("bob@example.com", "hidden@example.com")
    )
    found = {}
    for name, recording in RECORDED.items():
        first = (LIBRARY / f"{recording}.smtp.jsonl").read_text().partition('"session":"')[2]
        found[name] = first.partition('"')[0]
    return found


def show(page: Page, name: str, look: str) -> None:
    """Keep what it looks like, and have it checked."""
    BUILD.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=BUILD / f"{name}-{look}.png", animations="disabled")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("look", LOOKS)
def test_every_view(library: WatchedProxy, ids: dict[str, str], visit: Visit, look: str) -> None:
    page = visit(library.url, **LOOKS[look])
    for name, (place, sign) in VIEWS.items():
        page.goto(f"{library.url}/{place.format(**ids)}")
        expect(page.locator(sign).first).to_be_visible()
        if name == "html":
            expect(page.frame_locator(sign).locator("h1")).to_be_visible()
        show(page, name, look)


@pytest.mark.parametrize("look", LOOKS)
def test_dialogs(library: WatchedProxy, visit: Visit, look: str) -> None:
    page = visit(library.url, **LOOKS[look])
    expect(page.locator(".row").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    show(page, "help", look)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete all…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Delete all sessions?")
    show(page, "question", look)


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_recorded_yet(proxy: WatchedProxy, visit: Visit, look: str) -> None:
    page = visit(proxy.url, **LOOKS[look])
    expect(page.get_by_label("Getting started")).to_contain_text("Waiting for mail")
    show(page, "empty", look)


def test_the_connection_is_lost(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    expect(page.locator("#live-text")).to_have_text("live")
    own_proxy.stop()
    expect(page.locator(".banner")).to_be_visible()
    show(page, "lost", "light")
