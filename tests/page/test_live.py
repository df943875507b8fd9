"""Mail appears while it is sent, and nothing is lost or told twice when the connection is."""

from collections.abc import Callable

from tests.page.browsing import Page, expect
from tests.page.conftest import LIBRARY
from tests.page.proxies import WatchedProxy, mail

Visit = Callable[..., Page]


def test_an_empty_page_says_where_to_send_mail_to(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)

    welcome = page.get_by_label("Getting started")
    expect(welcome).to_contain_text("Waiting for mail")
    expect(welcome).to_contain_text(f"smtp://127.0.0.1:{own_proxy.port}")
    expect(welcome).to_contain_text(f"swaks --server 127.0.0.1:{own_proxy.port}")


def test_a_mail_appears_without_a_reload(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    expect(page.locator("#live-text")).to_have_text("live")

    own_proxy.send(mail("The first"))

    row = page.locator(".row").first
    expect(row).to_contain_text("delivered")
    expect(row).to_contain_text("The first")
    expect(row).to_contain_text("ada@example.com → bob@example.com")
    expect(row.locator(".code")).to_have_text("250")
    own_proxy.send(mail("The second"))
    expect(page.locator(".row-subject")).to_have_text(["The second", "The first"])
    expect(page.locator("#sessions-count")).to_have_text("2 sessions")


def test_a_session_is_watched_line_by_line(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    with own_proxy.session() as client:
        client.docmd("EHLO app.example")
        page.locator(".row-link").click()
        lines = page.locator(".conversation .is-command .said")
        expect(lines).to_have_text(["EHLO app.example"])
        client.docmd("MAIL FROM:<ada@example.com>")
        expect(lines).to_have_text(["EHLO app.example", "MAIL FROM:<ada@example.com>"])
        expect(page.locator(".session-head .badge")).to_have_text("open")
        client.docmd("RSET")
        expect(lines.last).to_have_text("RSET")
    expect(page.locator(".session-head .badge")).to_have_text("empty")
    expect(page.locator(".conversation .item").last).to_contain_text("ended by quit")


def test_probes_are_not_listed(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    expect(page.locator("#live-text")).to_have_text("live")
    own_proxy.session().close()
    own_proxy.send(mail("After the probe"))
    expect(page.locator(".row-subject")).to_have_text(["After the probe"])


def test_after_a_restart_it_goes_on_where_it_was(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    own_proxy.send(mail("Before"))
    expect(page.locator(".row")).to_have_count(1)

    own_proxy.stop()
    expect(page.locator(".banner")).to_contain_text("The connection to smtpproxy is lost")
    expect(page.locator("#live-text")).to_have_text("reconnecting")
    own_proxy.start()
    # Sent at once, most likely before the page is back: it must be told of them all the same.
    for number in range(3):
        own_proxy.send(mail(f"After {number}"))

    subjects = page.locator(".row-subject")
    expect(subjects).to_have_text(["After 2", "After 1", "After 0", "Before"])
    expect(page.locator("#live-text")).to_have_text("live")
    expect(page.locator(".banner")).to_have_count(0)
    shown = page.locator(".row-facts").all_inner_texts()
    page.reload()
    # Neither a gap nor a duplicate: what was put together live is what the log says.
    expect(subjects).to_have_text(["After 2", "After 1", "After 0", "Before"])
    assert page.locator(".row-facts").all_inner_texts() == shown


def test_another_log_is_read_anew(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    own_proxy.send(mail("Of the old log"))
    expect(page.locator(".row-subject")).to_have_text(["Of the old log"])

    own_proxy.stop()
    own_proxy.forget()
    own_proxy.start()
    own_proxy.send(mail("Of the new log"))

    expect(page.locator(".row-subject")).to_have_text(["Of the new log"])


def test_the_view_stays_while_sessions_come_in_above(library: WatchedProxy, visit: Visit) -> None:
    page = visit(library.url)
    expect(page.locator(".row").first).to_be_visible()
    # Halfway down a row of its own, so that a shift by anything else shows.
    page.locator("#sessions-scroll").evaluate("element => element.scrollTo(0, 1015)")
    session = page.locator(".row-link", has_text="bob@example.test").first.get_attribute("data-session")
    seen = page.locator(f'[data-session="{session}"]')
    before = seen.bounding_box()

    library.send(mail("Above"))

    button = page.locator("#new-sessions")
    expect(button).to_have_text("↑ 1 new")
    assert seen.bounding_box() == before
    button.click()
    expect(page.locator(".row-subject").first).to_have_text("Above")
    expect(button).to_be_hidden()


def test_rows_put_together_live_are_those_of_the_log(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url, is_tall=True)
    expect(page.locator("#live-text")).to_have_text("live")
    recordings = sorted(LIBRARY.glob("*.smtp.jsonl"))

    # Every kind of session that there is a recording of, event by event.
    own_proxy.take(*recordings)

    expect(page.locator(".row")).to_have_count(_count(own_proxy))
    expect(page.locator(".row-subject", has_text="…")).to_have_count(0)
    live = page.locator(".row").all_inner_texts()
    page.reload()
    expect(page.locator(".row")).to_have_count(len(live))
    expect(page.locator(".row-subject", has_text="…")).to_have_count(0)
    assert page.locator(".row").all_inner_texts() == live


def _count(proxy: WatchedProxy) -> int:
    """How many sessions a list has, by the API."""
    listed = proxy.api("/sessions?limit=500")
    assert isinstance(listed, dict)
    count = len(listed["sessions"])
    assert count >= len(list(LIBRARY.glob("*.smtp.jsonl")))
    return count
