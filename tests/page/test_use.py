"""Using the page: the filter, the keyboard, deleting, the theme, banners."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.page.browsing import Page, Route, expect
from tests.page.proxies import WatchedProxy, invoice, mail

Visit = Callable[..., Page]


def test_a_filter_narrows_the_list_and_what_comes(own_proxy: WatchedProxy, visit: Visit) -> None:
    own_proxy.send(mail("From Ada"))
    own_proxy.send(mail("From Eve", sender="eve@example.com"))
    page = visit(own_proxy.url)
    subjects = page.locator(".row-subject")
    expect(subjects).to_have_text(["From Eve", "From Ada"])

    page.keyboard.press("/")
    page.keyboard.type("from:ada@example.com")
    expect(subjects).to_have_text(["From Ada"])
    assert "q=from%3Aada%40example.com" in page.url
    own_proxy.send(mail("Eve again", sender="eve@example.com"))
    own_proxy.send(mail("Ada again"))
    expect(subjects).to_have_text(["Ada again", "From Ada"])
    # Empties the box, then leaves it.
    page.keyboard.press("Escape")
    expect(subjects).to_have_text(["Ada again", "Eve again", "From Eve", "From Ada"])


def test_a_wrong_filter_is_told_at_its_column(own_proxy: WatchedProxy, visit: Visit) -> None:
    own_proxy.send(mail("Stays"))
    page = visit(own_proxy.url)
    expect(page.locator(".row")).to_have_count(1)

    page.locator("#filter").fill("code:5xx fron:ada")
    problem = page.locator("#filter-problem")
    expect(problem.locator("p")).to_have_text(re.compile("^Column 10: .*fron"))
    assert problem.locator("pre").inner_text().splitlines() == ["code:5xx fron:ada", "         ^"]
    expect(page.locator("#filter")).to_have_attribute("aria-invalid", "true")
    # The list stays, and goes on.
    own_proxy.send(mail("Comes"))
    expect(page.locator(".row-subject")).to_have_text(["Comes", "Stays"])
    page.locator("#filter").fill("code:250")
    expect(problem).to_be_hidden()
    expect(page.locator(".row")).to_have_count(2)


def test_the_keyboard_does_it_all(own_proxy: WatchedProxy, visit: Visit) -> None:
    for name in ("one", "two", "three"):
        own_proxy.send(mail(name))
    page = visit(own_proxy.url)
    expect(page.locator(".row")).to_have_count(3)
    title = page.locator(".head-title")

    page.keyboard.press("j")
    expect(page.locator(".is-cursor")).to_contain_text("three")
    page.keyboard.press("j")
    expect(page.locator(".is-cursor")).to_contain_text("two")
    expect(page.locator(".is-cursor")).to_be_focused()
    expect(title).to_have_count(0)
    page.keyboard.press("Enter")
    expect(title).to_have_text("two")
    # Beside an open session the next one is opened at once.
    page.keyboard.press("j")
    expect(title).to_have_text("one")
    page.keyboard.press("k")
    expect(title).to_have_text("two")
    page.keyboard.press("2")
    expect(page.locator(".waterfall")).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator(".envelope")).to_be_visible()
    page.keyboard.press("Escape")
    expect(title).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next session")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    # In the search box keys are text.
    page.keyboard.press("/")
    page.keyboard.type("j?")
    expect(page.locator("#filter")).to_have_value("j?")


def test_a_session_is_deleted_after_a_question(own_proxy: WatchedProxy, visit: Visit) -> None:
    own_proxy.send(mail("Stays"))
    own_proxy.send(mail("Goes"))
    page = visit(f"{own_proxy.url}/#/latest")
    expect(page.locator(".head-title")).to_have_text("Goes")

    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Keep").click()
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog.get_by_role("button", name="Delete").click()

    expect(page.locator(".row-subject")).to_have_text(["Stays"])
    expect(page.locator(".head-title")).to_have_text("Stays")
    page.reload()
    expect(page.locator(".row-subject")).to_have_text(["Stays"])


def test_all_that_match_are_deleted_after_a_question(own_proxy: WatchedProxy, visit: Visit) -> None:
    own_proxy.send(mail("Stays"))
    own_proxy.send(mail("Goes", sender="eve@example.com"))
    page = visit(f"{own_proxy.url}/#/?q=from:eve@example.com")
    expect(page.locator(".row-subject")).to_have_text(["Goes"])
    page.get_by_role("button", name="Delete all…").click()
    expect(page.get_by_role("dialog")).to_contain_text("all sessions that match the filter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".row")).to_have_count(0)
    expect(page.locator("#rows-note")).to_have_text("Nothing matches this filter.")
    page.locator("#filter").fill("")
    expect(page.locator(".row-subject")).to_have_text(["Stays"])


def test_an_open_session_cannot_be_deleted(own_proxy: WatchedProxy, visit: Visit) -> None:
    with own_proxy.session() as client:
        client.docmd("EHLO app.example")
        page = visit(f"{own_proxy.url}/#/latest")
        button = page.get_by_role("button", name="Delete", exact=True)
        expect(button).to_be_disabled()
    expect(button).to_be_enabled()


def test_the_theme_is_the_systems_until_one_is_chosen(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url, is_dark=True)
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Use the light theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_trouble_with_recording_is_a_banner(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit("about:blank")

    def fail(route: Route) -> None:
        state = route.fetch().json()
        state["recording"] |= {"state": "failed", "error": "the disk is full", "lost_events": 12}
        route.fulfill(json=state)

    page.route("**/api/v1/state", fail)
    page.goto(own_proxy.url)
    expect(page.locator(".banner.is-error")).to_have_text(
        "Recording has failed: the disk is full. 12 events could not be recorded. Mail is still passed on."
    )
    expect(page.locator("#bottom")).to_contain_text("recording failed")
    page.unroute_all(behavior="wait")  # the page asks for its state every few seconds


def test_on_a_phone_there_is_one_pane_at_a_time(own_proxy: WatchedProxy, visit: Visit) -> None:
    own_proxy.send(mail("A subject that is much longer than a narrow window can show on one line"))
    page = visit(own_proxy.url, is_phone=True)
    page.locator(".row-link").click()
    expect(page.locator(".sessions")).to_be_hidden()
    expect(page.locator(".conversation .item").last).to_contain_text("ended by quit")
    for tab in ("Timing", "Message", "Conversation"):
        page.get_by_label("Views of the session").get_by_role("link", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator(".row")).to_be_visible()


def test_where_a_token_is_needed_it_is_asked_for_once(tmp_path: Path, visit: Visit) -> None:
    with WatchedProxy(tmp_path, "--web-token", "open-sesame-1147") as proxy:
        page = visit(proxy.url)
        page.get_by_label("Token").fill("open-sesame-1148")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("body")).to_contain_text("That is not the token.")
        page.get_by_label("Token").fill("open-sesame-1147")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#live-text")).to_have_text("live")
        proxy.send(invoice())
        page.locator(".row-link").click()
        page.get_by_role("link", name="Message", exact=True).click()
        # The sandboxed frame is let in too.
        expect(page.frame_locator(".html-frame").locator("h1")).to_have_text("Invoice 2026-1147")
