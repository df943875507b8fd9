"""What is searched of a message, however it is encoded, and that no message hurts its reader."""

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.filters import mailtext
from smtpproxy.inspect.filters.words import has_phrase, message_words, normalise, normalise_phrase


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Grüße aus Köln"
    message["X-Campaign"] = "42"
    message.set_content("Plain text: übermorgen, straße\n", charset="iso-8859-1")
    message.add_alternative(
        "<style>.hidden{}</style><p>Click&nbsp;<b>here</b> &amp; now</p><script>alert(1)</script>", "html"
    )
    message.add_attachment(b"attached words", "application", "pdf", filename="invoice 2026.pdf")
    return message


@pytest.mark.parametrize(
    "phrase",
    [
        *("grüße aus köln", "GRÜSSE", "x-campaign: 42", "übermorgen", "strasse", "click here & now"),
        *("invoice 2026.pdf", "invo*", "plain text", "content-type"),
    ],
)
def test_headers_text_and_names_of_attachments_are_searched(phrase: str) -> None:
    assert has_phrase(message_words(bytes(mail())), normalise_phrase(phrase))


@pytest.mark.parametrize("written", ["größe.pdf".encode(), b"=?utf-8?b?Z3LDtsOfZS5wZGY=?="])
def test_names_of_attachments_beyond_ascii_are_searched(written: bytes) -> None:
    octets = b'Content-Disposition: attachment; filename="' + written + b'"\r\n\r\nx\r\n'
    assert has_phrase(message_words(octets), normalise_phrase("größe.pdf"))


@pytest.mark.parametrize("phrase", ["hidden", "alert", "attached", "ick", "here click", "invo", "p"])
def test_what_nobody_sees_is_not(phrase: str) -> None:
    assert not has_phrase(message_words(bytes(mail())), normalise_phrase(phrase))


def test_a_mail_without_mime_or_without_any_header() -> None:
    assert message_words(b"Subject: a\r\n\r\nraw \xc3\xbc\r\n").endswith("raw ü")
    assert message_words(b"\r\nno header: here\r\n") == "no header here"
    assert message_words(b"Subject: only") == "subject only"
    assert message_words(b"") == ""


def test_a_charset_that_is_none_or_a_trap_is_read_as_utf_8() -> None:
    head = b"Content-Type: text/plain; charset="
    for charset in (b"no-such-thing", b"punycode", b"zip", b'"a\x00b"', b"idna"):
        assert message_words(head + charset + b"\r\n\r\nh\xc3\xa4lt\r\n").endswith("hält")


def test_words_are_letters_and_digits_in_one_case_and_form() -> None:
    assert normalise("  Ünïcode_2\tﬁne, e\u0301te\u0301! ") == "ünïcode 2 fine été"
    assert normalise_phrase("Res*") == "res*"
    assert normalise_phrase("a*b") == "a b"
    assert normalise_phrase("*") == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" =?utf-8?b?R3LDvMOfZQ==?= =?iso-8859-1?q?_K=F6ln?= plain", "Grüße Köln plain"),
        (b" =?utf-8?b?a?= x", "=?utf-8?b?a?= x"),
        (b" =?nonsense?q?a=C3=BC?=", "aü"),
        (b" raw \xc3\xbc \xff", "raw ü \ufffd"),
    ],
)
def test_header_fields_are_decoded(raw: bytes, shown: str) -> None:
    assert mailtext.decode_field(raw) == shown


def test_text_is_bounded() -> None:
    long = b"Subject: x\r\n\r\n" + b"word " * 200_000
    assert len(mailtext.message_text(long)) <= mailtext.MAX_TEXT_CHARACTERS + 100
    late = b"Subject: x\r\n\r\n" + b"." * mailtext.MAX_MESSAGE_BYTES + b" late"
    assert not has_phrase(message_words(late), "late")


def nested(depth: int) -> bytes:
    head = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth)
    )
    return head + b"\r\ndeep inside\r\n"


TRAPS = {
    "parts in parts": nested(5000),
    "as deep as is read": nested(mailtext.MAX_BOUNDARIES - 1) + b"\n" * 400_000,
    "open tags": b"Content-Type: text/html\r\n\r\n" + b"<script" * 40_000,
    "open brackets": b"Content-Type: text/html\r\n\r\n" + b"<" * 250_000,
    "encoded words": b"Subject: " + b"=?a?q?" * 60_000,
    "fields": b"=?a?q?b?=: c\r\n" * 30_000,
    "a slow codec": b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a-" + b"b" * 250_000,
    "combining marks": b"Subject: x\r\n\r\n" + ("a" + "\u0301\u0316" * 100_000).encode(),
    "quotes in parameters": b'Content-Disposition: attachment; filename="' + b';"' * 200_000 + b"\r\n\r\n",
    "folded parameters": b"Content-Type: text/plain;" + b'\r\n a*0="x";' * 30_000 + b"\r\n\r\nx",
    "a long boundary": b"Content-Type: multipart/mixed; boundary=" + b"a" * 400_000 + b"\r\n\r\n--a",
    "parameters": b"Content-Type: text/plain; " + b"a*0*=b; " * 20_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("octets", TRAPS.values(), ids=TRAPS.keys())
def test_mail_that_was_made_to_hurt_is_read_in_bounded_time(octets: bytes) -> None:
    before = time.process_time()
    message_words(octets)
    assert time.process_time() - before < 2


LINES = st.sampled_from(
    [
        *(
            b"Content-Type: multipart/mixed; boundary=b",
            b"Content-Type: text/html; charset=\xff",
            b"--b",
            b"--b--",
        ),
        *(b"Content-Transfer-Encoding: base64", b"Content-Disposition: attachment; filename*=x''%ff", b""),
        *(
            b"Content-Type: message/rfc822",
            b" folded",
            b"=?utf-8?b?a?=: x",
            b"Content-Type: text/plain; charset*=q",
        ),
        *(
            b"Content-Transfer-Encoding: x-uuencode",
            b"begin 666 x",
            b"=",
            b"Subject: =?utf-8?b?a?=",
            b"<script>",
        ),
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(LINES, max_size=20).map(b"\r\n".join)))
def test_any_octets_have_words(octets: bytes) -> None:
    words = message_words(octets)
    assert words == normalise(words)
    assert (
        mailtext.subject_of(mailtext.header_section(octets) or octets) is None or b"ubject" in octets.lower()
    )
