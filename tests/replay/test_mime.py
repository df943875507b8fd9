"""Messages as their readers see them: what may change between two runs of an app, and what may not."""

import base64
import email.policy
import quopri
import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.replay.mime import MAX_MIME_BYTES, Canonical, canonical


def newsletter(
    boundary: str = "aaaa", date: str = "Mon, 23 Nov 2026 17:00:00 +0000", **changed: str
) -> bytes:
    message = EmailMessage()
    message["Received"] = "from b by c"
    message["Received"] = "from a by b"
    message["From"] = "App <app@example.com>"
    message["To"] = changed.get("to", "bob@example.com")
    message["Subject"] = changed.get(
        "subject", "Grüße aus Köln, und noch viel mehr Wörter, die gefaltet werden müssen"
    )
    message["Date"] = date
    message["Message-ID"] = f"<{boundary}@example.com>"
    message.set_content(changed.get("text", "Hallo Welt\nwie geht's?\nBis bald, größte Grüße\n"))
    message.add_alternative(changed.get("html", "<p>Hallo</p>"), subtype="html")
    message.add_attachment(
        b"\x00\x01\x02",
        maintype="application",
        subtype="octet-stream",
        filename=changed.get("file", "daten.bin"),
    )
    message.set_boundary(boundary)
    return message.as_bytes(policy=email.policy.SMTP)


def fields(ours: bytes, theirs: bytes, *ignore: str) -> tuple[tuple[str, str, str], ...]:
    return canonical(ours, ignore).difference(canonical(theirs, ignore))


def test_date_message_id_and_boundaries_do_not_count() -> None:
    other = newsletter("bbbb", date="Tue, 24 Nov 2026 08:15:00 +0100")
    assert other != newsletter()
    assert canonical(other) == canonical(newsletter())


def test_neither_folding_nor_encoding_counts() -> None:
    plain = (
        b"Subject: Gr\xc3\xbc\xc3\x9fe  aus\r\n K\xc3\xb6ln\r\nContent-Type: text/plain; charset=UTF-8\r\n"
    )
    text = "größer = schöner\r\n.\r\nEnde\r\n".encode()
    encoded = b"subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?UTF-8?b?IGF1cyBLw7Zsbg==?=\r\n"
    encoded += b'Content-Type: TEXT/plain;\r\n charset="utf-8"\r\n'
    variants = [
        plain + b"\r\n" + text,
        encoded + b"\r\n" + text.replace(b"\r\n", b"\n"),
        encoded + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(text),
        plain + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quopri.encodestring(text),
    ]
    assert [fields(variants[0], other) for other in variants] == [(), (), (), ()]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"to": "eve@example.com"}, ("to", "bob@example.com", "eve@example.com")),
        (
            {"text": "Hallo Welt\nwie geht's dir?\nBis bald, größte Grüße\n"},
            ("part 1.1 (text/plain), line 2", "wie geht's?", "wie geht's dir?"),
        ),
        ({"html": "<p>Hullo</p>"}, ("part 1.2 (text/html), line 1", "<p>Hallo</p>", "<p>Hullo</p>")),
        (
            {"file": "data.bin"},
            ("part 2: disposition", "attachment; filename=daten.bin", "attachment; filename=data.bin"),
        ),
    ],
    ids=["to", "text", "html", "file"],
)
def test_a_difference_is_named(changed: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert fields(newsletter(), newsletter("bbbb", **changed)) == (expected,)


def test_headers_are_a_multiset_but_received_has_an_order() -> None:
    one = b"Received: a\r\nX-Tag: 1\r\nReceived: b\r\nX-Tag: 2\r\n\r\n"
    assert fields(one, b"X-Tag: 2\r\nReceived: a\r\nX-Tag: 1\r\nReceived: b\r\n\r\n") == ()
    assert fields(one, b"X-Tag: 2\r\nReceived: b\r\nX-Tag: 1\r\nReceived: a\r\n\r\n") == (
        ("received", "a", "b"),
        ("received", "b", "a"),
    )
    assert fields(one, b"Received: a\r\nX-Tag: 1\r\nReceived: b\r\n\r\n") == (("x-tag", "2", ""),)


def test_more_headers_can_be_ignored() -> None:
    one, two = b"X-Trace: 1\r\nSubject: x\r\n\r\n", b"X-Trace: 2\r\nSubject: x\r\n\r\n"
    assert fields(one, two) == (("x-trace", "1", "2"),)
    assert fields(one, two, "x-TRACE") == ()


def test_a_part_more_or_less_is_named() -> None:
    one = EmailMessage()
    one.set_content("text")
    one.add_attachment(b"\x00", maintype="image", subtype="png", filename="a.png")
    two = EmailMessage()
    two.set_content("text")
    two.add_attachment(b"\x00", maintype="image", subtype="png", filename="a.png")
    two.add_attachment(b"\x01", maintype="image", subtype="gif", filename="b.gif")
    found = fields(one.as_bytes(), two.as_bytes())
    assert found == (("part 3", "", "image/gif, 1 octets, attachment; filename=b.gif"),)


def test_one_line_end_at_the_end_does_not_count_but_a_blank_line_does() -> None:
    head = b"Subject: x\r\n\r\n"
    assert fields(head + b"a\r\n", head + b"a") == ()
    assert fields(head + b"a\r\n", head + b"a\r\n\r\n") == (("body, line 2", "", "(a blank line)"),)


def test_octets_beyond_ascii_in_headers_are_not_all_the_same() -> None:
    for head in (
        b"Subject: %b\r\n\r\n",
        b"Content-Type: text/plain; name=%b\r\n\r\n",
        b"Content-Disposition: inline; filename=%b\r\n\r\n",
    ):
        assert len(fields(head % "ä".encode(), head % "ö".encode())) == 1
        assert fields(head % b"\xff", head % b"\xff") == ()


def test_a_long_message_counts_by_its_digest() -> None:
    long = b"Date: x\r\n\r\n" + b"a" * MAX_MIME_BYTES
    assert canonical(long) == canonical(long)
    ((name, *_),) = fields(long, long.replace(b"x", b"y", 1))
    assert name == "sha256"
    assert fields(long, long + b"a")[0][0] == "octets"


def test_a_digest_stands_for_its_message() -> None:
    message = canonical(b"Subject: x\r\n\r\n")
    assert message == Canonical(octets=14, sha256=message.sha256)
    assert message != Canonical(octets=15, sha256=message.sha256)
    assert message == Canonical(octets=14, sha256="")
    assert message != Canonical(octets=14, sha256="0" * 64)


def test_what_is_shown_is_escaped() -> None:
    found = fields(b"Subject: \x1b]0;a\r\n\r\n\x1b[1m", b"Subject: b\r\n\r\n\x9b")
    assert found == (("subject", "\\x1b]0;a", "b"), ("body, line 1", "\\x1b[1m", "\\x9b"))


HEADERS = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/plain; charset=*'\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"Content-Type: a; b*0*=%ff''%; b*1=c\r\n",
        b"Subject: =?x?q?=ff?=\r\n",
        b"Subject: =?utf-8?b?A?= =?\r\n",
        b"\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"begin 644 a\r\nM\xff\r\n",
        b"\xff\x00",
        b"\r",
        b" \r\n",
        b":\r\n",
        b"Content-Disposition: ;filename*=utf-8''%ff\r\n",
        b"From x\r\n",
        b"Content-Type: message/delivery-status\r\n",
        b"Content-Type: \xff/\xfe; boundary=\xff\r\n",
    ]
)


@given(st.lists(st.one_of(HEADERS, st.binary(max_size=20)), max_size=12).map(b"".join))
def test_anything_can_be_read_and_is_as_itself(content: bytes) -> None:
    assert canonical(content).difference(canonical(content)) == ()


@given(st.lists(HEADERS, max_size=8).map(b"".join), st.lists(HEADERS, max_size=8).map(b"".join))
def test_what_is_not_equal_has_a_difference_to_name(ours: bytes, theirs: bytes) -> None:
    one, two = canonical(ours), canonical(theirs)
    assert (one == two) == (one.difference(two) == ())
    assert all(len(field) == 3 for field in one.difference(two))


@pytest.mark.parametrize(
    "content",
    [
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20000)),
        b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(90))
        + b"x\n" * 40000,
        b"Content-Type: message/rfc822\n\n" * 100000,
        b"Subject: " + b"=?a?q?" * 200000 + b"\n\n",
        b"Content-Type: text/plain" + b';a="' * 500000 + b"\n\n",
        b"Content-Type: text/plain" + b';a="\r ' * 500000 + b"\n\n",
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100000,
        b"Content-Transfer-Encoding: base64\n\n" + b"A\n" * 1000000,
    ],
    ids=[
        "nested",
        "nested and long",
        "messages in messages",
        "words",
        "parameters",
        "folded",
        "parts",
        "base64",
    ],
)
def test_hostile_messages_cost_little(content: bytes) -> None:
    before = time.process_time()
    canonical(content)
    assert time.process_time() - before < 5
