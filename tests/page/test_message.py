"""A message's tabs, its envelope beside its headers, and mail that tries to run something."""

import re
from collections.abc import Callable

from tests.page.browsing import Dialog, Page, expect
from tests.page.proxies import WatchedProxy, hostile, invoice

Visit = Callable[..., Page]


def test_a_message_can_be_looked_at_in_every_way(proxy: WatchedProxy, visit: Visit) -> None:
    proxy.send(invoice(), mail_from="bounces@example.com", rcpt_to=("bob@example.com", "hidden@example.com"))
    page = visit(f"{proxy.url}/#/latest/message")
    views = page.get_by_label("Ways to look at the message")

    frame = page.frame_locator(".html-frame")
    expect(frame.locator("h1")).to_have_text("Invoice 2026-1147")
    views.get_by_role("link", name="Text").click()
    expect(page.locator(".view pre")).to_have_text(re.compile(r"^Hello\."))
    views.get_by_role("link", name="Headers").click()
    expect(page.locator(".headers tbody tr").first).to_have_text("FromAda <ada@example.com>")
    views.get_by_role("link", name="MIME").click()
    expect(page.locator(".part-type")).to_have_text(
        ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"]
    )
    views.get_by_role("link", name="Source").click()
    expect(page.locator(".view pre")).to_contain_text("Content-Type: multipart/mixed")
    views.get_by_role("link", name="Attachments 1").click()
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save invoice.pdf").click()
    assert saving.value.suggested_filename == "invoice.pdf"
    assert saving.value.path().read_bytes() == b"%PDF-1.4"
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save .eml").click()
    assert saving.value.suggested_filename.endswith("-1.eml")


def test_envelope_and_headers_stand_side_by_side(proxy: WatchedProxy, visit: Visit) -> None:
    proxy.send(invoice(), mail_from="bounces@example.com", rcpt_to=("bob@example.com", "hidden@example.com"))
    page = visit(f"{proxy.url}/#/latest/message")

    envelope = page.get_by_label("Envelope", exact=True)
    expect(envelope.locator("dd")).to_have_text(
        ["bounces@example.com ≠", "bob@example.com", "hidden@example.com ≠"]
    )
    headers = page.get_by_label("Headers in short")
    expect(headers.locator(".is-mismatch dt")).to_have_text(["From", "To"])
    expect(page.locator(".mismatches li")).to_have_text(
        [
            "≠ The envelope says bounces@example.com, the From header says ada@example.com.",
            "≠ hidden@example.com is a recipient, and stands in neither To nor Cc.",
            "≠ team@example.com stands in To or Cc, and is no recipient.",
        ]
    )


def test_hostile_mail_runs_nothing_and_loads_nothing(proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(proxy.url)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    proxy.send(hostile())

    row = page.locator(".row-link").first
    expect(row).to_contain_text("<script>window.pwned=1</script>")
    row.click()
    expect(page.locator(".head-title")).to_contain_text("<script>window.pwned=1</script>")
    page.locator("details.content summary").click()
    expect(page.locator(".unfolded")).to_contain_text("X-Evil")
    page.get_by_role("link", name="Message", exact=True).click()
    expect(page.frame_locator(".html-frame").locator("p")).to_have_text("Look here")
    page.frame_locator(".html-frame").get_by_role("link", name="click").click()
    page.frame_locator(".html-frame").get_by_role("button", name="go").click()
    views = page.get_by_label("Ways to look at the message")
    for name in ("Text", "Headers", "MIME", "Source", "Attachments 1"):
        views.get_by_role("link", name=name).click()
        expect(page.locator(".view")).to_have_attribute("aria-label", name.split()[0])
        expect(page.locator(".view")).not_to_be_empty()
    with page.expect_download() as saving:
        page.get_by_role("link", name=re.compile("^Save [.][.]")).click()

    assert re.fullmatch(r"[\w .=()-]+", saving.value.suggested_filename)
    assert page.evaluate("window.pwned") is None
    assert page.url.startswith(proxy.url)
    assert [frame.evaluate("window.pwned") for frame in page.frames] == [None] * len(page.frames)
    assert dialogs == []
    assert {url for url in asked if not url.startswith((proxy.url, "data:", "about:"))} == set()


def test_the_frame_of_html_has_no_rights(proxy: WatchedProxy, visit: Visit) -> None:
    proxy.send(hostile())
    page = visit(f"{proxy.url}/#/latest/message")
    frame = page.locator(".html-frame")
    expect(frame).to_have_attribute("sandbox", "")
    expect(page.frame_locator(".html-frame").locator("p")).to_have_text("Look here")
    # An origin of its own: the page cannot be reached from it, nor it from the page.
    assert frame.evaluate("frame => frame.contentDocument") is None


def test_nothing_of_the_page_is_inline_or_from_elsewhere(proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(proxy.url)
    policy = page.request.get(proxy.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    # The policy holds: markup that would run is not run.
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
