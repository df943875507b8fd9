"""One session's conversation: who said what, what the proxy changed, what it found, where the time went."""

import re
from collections.abc import Callable

import pytest

from tests.page.browsing import Locator, Page, expect
from tests.page.proxies import WatchedProxy, mail

Visit = Callable[..., Page]


def open_recorded(page: Page, name: str) -> None:
    """Open the session of the library whose message has that subject."""
    page.goto(page.url.partition("#")[0] + f'#/?q=subject:"{name}"')
    row = page.locator(".row", has_text=name)
    row.first.locator("a").click()
    expect(page.locator(".conversation .item").last).to_contain_text("ended by")


def transcript(page: Page) -> list[str]:
    """What is said, as `speaker mark text`; of an EHLO reply the first line."""
    lines: list[str] = page.locator(".conversation .line:not(.is-note)").evaluate_all(
        "lines => lines.map(line => [line.querySelector('.speaker').firstChild.textContent,"
        " line.querySelector('.mark').textContent,"
        " line.querySelector('.said, summary').textContent].join(' '))"
    )
    return lines


@pytest.fixture
def page(library: WatchedProxy, visit: Visit) -> Page:
    return visit(library.url)


def test_it_reads_as_what_was_said(proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(proxy.url)
    with proxy.session() as client:
        for line in ("EHLO app.example", "MAIL FROM:<ada@example.com>", "RCPT TO:<bob@example.com>"):
            client.docmd(line)
        client.data(b"Subject: Hello\r\n\r\nHi!\r\n")
        client.docmd("NONSENSE")
    page.locator(".row-link").first.click()
    expect(page.locator(".conversation .item").last).to_contain_text("ended by quit")

    said = transcript(page)
    assert said[0].startswith("server ← 220 ")
    assert said[1] == "client → EHLO app.example"
    assert said[2].startswith("server ← 250-")
    assert said[3] == "client → MAIL FROM:<ada@example.com>"
    assert said[5] == "client → RCPT TO:<bob@example.com>"
    assert said[7] == "client → data"
    assert said[8].startswith("server ← 354 ")
    assert said[9] == "client → message 1: 23 B"
    assert said[10] == "client → . end of message 1"
    assert said[12] == "client → NONSENSE"
    assert said[13].startswith("server ← 500 ")
    assert said[14:] == ["client → QUIT", "server ← 221 2.0.0 Bye"]
    refused = page.locator(".is-rejection")
    expect(refused).to_have_count(1)
    expect(refused.locator(".speaker")).to_have_text("server to client: ")
    # The finding stands with the line that it is about.
    about = page.locator(".item", has_text="NONSENSE")
    expect(about.locator(".finding")).to_contain_text("unknown-verb")
    expect(page.locator(".since").nth(1)).to_have_text(re.compile(r"^\+\d"))


def test_content_is_folded_and_shown_as_it_stood_on_the_wire(proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(proxy.url)
    with proxy.session() as client:
        client.docmd("EHLO app.example")
        client.sendmail(
            "ada@example.com", "bob@example.com", b"Subject: Dots\r\n\r\n.hidden\r\nbare\nend\r\n"
        )
    page.locator(".row-link", has_text="Dots").click()
    content = page.locator("details.content")
    expect(content.locator(".said")).to_have_count(0)
    content.locator("summary").click()
    # The dot is stuffed (RFC 5321 4.5.2), and a line end that is none is told.
    expect(content.locator(".said")).to_have_text(["Subject: Dots", "", "..hidden", "bareLF", "end"])


def test_what_cannot_be_seen_is_shown(own_proxy: WatchedProxy, visit: Visit) -> None:
    page = visit(own_proxy.url)
    with own_proxy.session() as client:
        client.send(b"NOOP \x1b[31m\xe2\x80\xaeevil\r\n")
        client.getreply()
        client.send(b"NOOP \xff\xfe\n")
        client.getreply()
    page.locator(".row-link").click()
    expect(page.locator(".is-command .said")).to_have_text(
        ["NOOP \\x1b[31m\\u202eevil", "NOOP \\xff\\xfeLF", "QUIT"]
    )


def test_secrets_are_marks(page: Page) -> None:
    open_recorded(page, "aiosmtpd-starttls")
    line = page.locator(".line", has_text="AUTH PLAIN").last
    secret = line.locator(".secret")
    expect(secret).to_have_text("password")
    expect(secret).to_have_attribute("title", re.compile("octets; kept out of the recording"))
    expect(page.locator("body")).not_to_contain_text("{{secret}}")


def test_the_rewritten_ehlo_reply_is_a_diff(page: Page) -> None:
    open_recorded(page, "postfix-upgraded-by-the-proxy")
    diff = page.locator(".is-ehlo")
    expect(diff).to_have_count(1)
    expect(diff.locator(".is-added ins")).to_have_text("250 STARTTLS")
    expect(diff).to_contain_text("EHLO reply: 1 added by the proxy")
    # What went before it, only between proxy and server, is there too, and who said it is told apart.
    asked = page.locator(".by-proxy.is-command .said")
    expect(asked).to_have_text(["STARTTLS", "EHLO app.example.test"])
    assert "proxy │→ STARTTLS" in transcript(page)


def test_tls_of_each_leg_has_its_certificate(page: Page) -> None:
    open_recorded(page, "aiosmtpd-starttls")
    legs = page.locator(".line.is-note", has_text="TLS,")
    expect(legs).to_have_count(2)
    server = legs.first
    expect(server).to_contain_text("TLS, server leg: TLSv1.3")
    expect(server).to_contain_text("verified")
    server.locator("summary").click()
    expect(server.locator("dt")).to_have_text(["subject", "issuer", "names", "valid", "SHA-256"])
    expect(legs.last).to_contain_text("TLS, client leg: TLSv1.3")
    # Lines before the handshake are not under TLS, those after it are.
    commands = page.locator(".by-client.is-command")
    expect(commands.first).to_have_class(re.compile(r"^(?!.*is-tls)"))
    expect(commands.last).to_have_class(re.compile("is-tls"))
    facts = page.locator(".head-facts")
    expect(facts.locator(".leg-tls.is-safe")).to_have_text(["TLSv1.3", "TLSv1.3"])


def test_pipelined_commands_share_a_bracket_with_their_replies(page: Page) -> None:
    open_recorded(page, "postfix-pipelining")
    first, last = page.locator(".is-group-first"), page.locator(".is-group-last")
    expect(first.locator(".said")).to_contain_text("MAIL FROM")
    grouped = page.locator(".is-grouped .said").all_inner_texts()
    assert [line.split()[0] for line in grouped][:3] == ["MAIL", "RCPT", "DATA"]
    assert grouped[-1].startswith("354 ")
    expect(last.locator(".said")).to_contain_text("354 ")


def test_the_waterfall_shows_the_slow_step(page: Page) -> None:
    open_recorded(page, "sandbox-slow-1")
    page.get_by_role("link", name="Timing").click()
    slow = page.locator(".step.is-slow")
    expect(slow).to_have_count(1)
    expect(slow).to_contain_text("1.00 s")
    widths = page.locator(".step-bar").evaluate_all("bars => bars.map(bar => bar.offsetWidth)")
    assert max(widths) == _width(slow.locator(".step-bar"))
    expect(page.locator(".legend")).to_contain_text("waiting for the server 1.00 s 100 %")
    slow.locator("button").click()
    revealed = page.locator(".is-revealed")
    expect(revealed).to_be_in_viewport()
    expect(revealed).to_contain_text("rcpt TO:<slow-1@example.test>")


def _width(bar: Locator) -> float:
    width: float = bar.evaluate("bar => bar.offsetWidth")
    return width


def test_a_session_can_be_linked_and_its_files_saved(proxy: WatchedProxy, visit: Visit) -> None:
    proxy.send(mail("To be linked"))
    page = visit(f"{proxy.url}/#/latest")
    expect(page.locator(".head-title")).to_have_text("To be linked")
    with page.expect_download() as saving:
        page.get_by_role("link", name="Recording").click()
    assert saving.value.suggested_filename.endswith(".smtp.jsonl")
    assert saving.value.path().read_bytes().startswith(b'{"kind":"session","n":0,')
    with page.expect_popup() as opening:
        page.get_by_role("link", name="Transcript").click()
    expect(opening.value.locator("body")).to_contain_text("-> mail FROM")
    page.goto(f"{proxy.url}/#/nothing-like-that")
    expect(page.get_by_role("alert")).to_contain_text("nothing-like-that")
