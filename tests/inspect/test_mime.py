"""Mail taken apart for people; and whatever octets come, nothing raises and nothing takes for ever."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.mime import MAX_DEPTH, MAX_PARTS, MAX_TEXT_CHARACTERS, Mail, Part, mismatches

PLAIN = b"From: a@x\r\nDate: today\r\n"


def multipart(*parts: bytes, kind: str = "mixed") -> bytes:
    inner = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return PLAIN + f"Content-Type: multipart/{kind}; boundary=b\r\n\r\n".encode() + inner + b"--b--\r\n"


def test_headers_are_unfolded_and_decoded_in_order() -> None:
    mail = Mail(
        b"Received: by a\r\n\tfrom b\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?= =?iso-8859-1?q?_=E4?=\r\n"
        b"X-Raw: gr\xc3\xbc\xc3\x9f\xff\r\nReceived: by c\r\n\r\nbody"
    )
    assert mail.headers == [
        ("Received", "by a from b"),
        ("Subject", "Grüße ä"),
        ("X-Raw", "grüß\ufffd"),
        ("Received", "by c"),
    ]
    assert mail.header("subject") == "Grüße ä"
    assert mail.text == "body"


def test_the_tree_is_numbered_as_mail_people_do() -> None:
    mail = Mail(
        multipart(
            b"Content-Type: text/plain; charset=iso-8859-1\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nH=E4",
            b"Content-Type: multipart/related; boundary=c\r\n\r\n"
            b"--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--",
            b"Content-Type: application/pdf; name*=utf-8''b%C3%A4r.pdf\r\n"
            b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==",
        )
    )
    assert [part.path for part in mail.parts] == ["1", "2.1", "3"]
    assert (mail.root.path, mail.root.content_type) == ("", "multipart/mixed")
    assert mail.text == "Hä"
    assert mail.html == "<p>"
    assert mail.attachments == 1
    found = mail.content("3")
    assert found is not None
    part, octets = found
    assert (part.filename, part.size, octets) == ("bär.pdf", 4, b"%PDF")
    assert mail.content("9") is None


@pytest.mark.parametrize("written", ["größe.pdf".encode(), b"=?utf-8?b?Z3LDtsOfZS5wZGY=?="])
def test_names_of_files_beyond_ascii(written: bytes) -> None:
    # RFC 6532; and encoded words, where RFC 2047 has none.
    mail = Mail(multipart(b'Content-Disposition: attachment; filename="' + written + b'"\r\n\r\nx'))
    assert [part.filename for part in mail.parts] == ["größe.pdf"]
    assert mail.attachments == 1


def test_a_text_file_is_no_text() -> None:
    file = b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nfile"
    mail = Mail(multipart(file, b"Content-Type: text/plain\r\n\r\ntext"))
    assert mail.text == "text"


def test_an_attached_message_stays_whole() -> None:
    inner = b"From: inner@x\r\nSubject: inner\r\n\r\nhello\r\n"
    mail = Mail(multipart(b"Content-Type: message/rfc822\r\n\r\n" + inner))
    found = mail.content("1")
    assert found is not None
    assert b"Subject: inner" in found[1]
    assert mail.header("subject") == ""


def test_images_that_came_along_are_put_into_the_html() -> None:
    mail = Mail(
        multipart(
            b'Content-Type: text/html\r\n\r\n<img src="cid:a"><img src=cid:b><img src=cid:c>',
            b"Content-Type: image/png\r\nContent-ID: <a>\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\niVBORw==",
            b"Content-Type: image/svg+xml\r\nContent-ID: <b>\r\n\r\n<svg onload=x>",
            kind="related",
        )
    )
    html = mail.html_alone()
    assert html is not None
    assert '<img src="data:image/png;base64,iVBORw==">' in html
    assert "src=cid:b" in html  # what can run is not put in
    assert "src=cid:c" in html


@pytest.mark.parametrize(
    ("headers", "mail_from", "rcpt_to", "said"),
    [
        ("From: a@x\r\nTo: b@x", "a@x", ["b@x"], []),
        ("From: A <A@X>\r\nTo: B <B@x>, c@x\r\nCc: d@x", "a@x", ["b@X", "c@x", "d@x"], []),
        (
            "From: a@x\r\nTo: b@x",
            "bounces@y",
            ["b@x"],
            ["The envelope says bounces@y, the From header says a@x."],
        ),
        (
            "From: a@x\r\nTo: b@x",
            "a@x",
            ["b@x", "c@x"],
            ["c@x is a recipient, and stands in neither To nor Cc."],
        ),
        ("From: a@x\r\nTo: b@x, c@x", "a@x", ["b@x"], ["c@x stands in To or Cc, and is no recipient."]),
        (
            "From: a@x\r\nTo: b@x",
            "",
            ["b@x"],
            ["The envelope has the null sender <>: nobody will hear of a failure."],
        ),
        (
            "From: a@x\r\nBcc: b@x",
            "a@x",
            ["b@x"],
            ["There is a Bcc header: whoever gets the message can read it."],
        ),
    ],
)
def test_envelope_and_headers(headers: str, mail_from: str, rcpt_to: list[str], said: list[str]) -> None:
    assert mismatches(Mail(headers.encode() + b"\r\n\r\n"), mail_from, rcpt_to) == said


def test_many_mismatches_are_not_all_told() -> None:
    said = mismatches(Mail(PLAIN + b"\r\n"), "a@x", [f"{number}@x" for number in range(1000)])
    assert len(said) == 21
    assert said[-1] == "… and 980 more."


def test_what_is_missing_is_told() -> None:
    assert Mail(b"Subject: x\r\n\r\n").defects == [
        "There is no From header, which every message must have (RFC 5322 3.6).",
        "There is no Date header, which every message must have (RFC 5322 3.6).",
    ]
    assert any(
        "boundary" in defect for defect in Mail(PLAIN + b"Content-Type: multipart/mixed\r\n\r\nx").defects
    )


def deep(levels: int) -> bytes:
    octets = PLAIN
    for level in range(levels):
        octets += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return octets


HOSTILE = {
    "deep": deep(50),
    "deeper than is read": deep(2000),
    "many parts": multipart(*[b"Content-Type: text/plain\r\n\r\nx"] * 5000),
    "many headers": b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
    "one long header": b"Subject: " + b"=?utf-8?q?=00?= " * 100_000 + b"\r\n\r\n",
    "a long word": b"Subject: =?utf-8?q?" + b"?" * 200_000 + b"?=\r\n\r\n",
    "a long address": b"From: " + b"<(" * 100_000 + b"\r\n\r\n",
    "a slow codec": b"Subject: =?punycode?q?" + b"a" * 50_000 + b"-" + b"9" * 50_000 + b"?=\r\n\r\n",
    "a slow charset": b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"9" * 200_000,
    "longer parameters": b"Content-Type: text/plain" + b';\r\n a*1="x"' * 400_000 + b"\r\n\r\n",
    "long parameters": b"Content-Type: text/plain" + b'; a*%d="x"' * 20_000 + b"\r\n\r\n",
    "boundaries of nothing": multipart() + b"--b\r\n" * 100_000,
    "no line at all": b"x" * 2_000_000,
    "base64 of noise": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=A" * 200_000,
    "uuencoded": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 x\r\n" + b"\xff" * 1000,
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE.keys())
def test_mail_that_was_made_to_hurt(octets: bytes) -> None:
    begun = time.process_time()
    mail = Mail(octets)
    mail.html_alone()
    mismatches(mail, "a@x", ["b@x"])
    assert time.process_time() - begun < 5
    assert len(list(mail.parts)) <= MAX_PARTS
    assert depth(mail.root) <= MAX_DEPTH
    assert mail.text is None or len(mail.text) <= MAX_TEXT_CHARACTERS


def depth(part: Part) -> int:
    return max((1 + depth(inner) for inner in part.parts), default=0)


LINES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: text/html; charset=\xff",
        b"Content-Type: text/plain; charset=idna",
        b"Content-Type: message/rfc822",
        b"Content-Type: ;;=",
        b"Content-Disposition: attachment; filename*0*=x''%ff; filename*9=y",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"Subject: =?utf-8?b?!!!?= =?x?q?y?=",
        b'From: "a\\" <,;:@[x]',
        b"Date: \x00",
        b"",
        b"--b",
        b"--b--",
        b" folded",
        b":",
    ]
)


@given(st.lists(LINES | st.binary(max_size=40), max_size=40))
def test_nothing_raises(lines: list[bytes]) -> None:
    mail = Mail(b"\r\n".join(lines))
    mail.html_alone()
    for part in mail.parts:
        found = mail.content(part.path)
        assert found is not None
        assert len(found[1]) == part.size
        assert part.filename.isprintable() or part.filename == ""
        assert "\n" not in part.content_type
    assert all(isinstance(said, str) for said in mismatches(mail, "", []))
    for name, value in mail.headers:
        (name + value).encode()  # no lone surrogates: it becomes JSON
