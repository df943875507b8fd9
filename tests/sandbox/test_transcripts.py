"""What the sandbox says, as transcripts: `C:` the client's line, `S:` how the replies begin."""

import base64

import pytest

from smtpproxy.sandbox import Sandbox
from tests.sandbox.dialogue import Client


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def play(client: Client, transcript: str) -> None:
    """Say every `C:` line; each `S:` line is the beginning of one line of what comes back."""
    said = ""
    heard: list[str] = []
    for line in filter(str.strip, transcript.splitlines()):
        mark, text = line.strip()[:2], line.strip()[3:]
        if mark == "C:":
            assert not heard, f"after {said!r} there also came {heard}"
            said, heard = text, client.say(text.encode()).split("\n")
        else:
            assert mark == "S:", line
            got = heard.pop(0) if heard else ""
            assert got.startswith(text), f"to {said!r}: {got!r}, not {text!r}"
    assert not heard, f"after {said!r} there also came {heard}"


HELLO = """
    C: EHLO app.example
    S: 250-sandbox.localhost at your service, [192.0.2.7]
    S: 250-PIPELINING
    S: 250-SIZE 268435456
    S: 250-VRFY
    S: 250-ETRN
    S: 250-STARTTLS
    S: 250-AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2
    S: 250-ENHANCEDSTATUSCODES
    S: 250-8BITMIME
    S: 250-DSN
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-BINARYMIME
    S: 250 HELP
"""

SMTP = {
    "a message": """
        C: MAIL FROM:<a@x.example> SIZE=1000 BODY=8BITMIME
        S: 250 2.1.0 Ok
        C: RCPT TO:<b@y.example>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Subject: hello
        S: 250 2.0.0 Ok, 14 octets kept as 01KTEST-1, not delivered
        C: MAIL FROM:<>
        S: 250 2.1.0 Ok
        C: QUIT
        S: 221 2.0.0 Bye (close)
    """,
    "the case does not matter": """
        C: mail from:<a@x.example> size=5 ret=hdrs
        S: 250 2.1.0
        C: rCpT tO:<b@y.example> notify=success,delay
        S: 250 2.1.5
        C: data
        S: 354
    """,
    "bad sequences": """
        C: RCPT TO:<b@y.example>
        S: 503 5.5.1 Need MAIL
        C: DATA
        S: 503 5.5.1 Need MAIL
        C: BDAT 3
        S: 503 5.5.1 Need MAIL
        C: MAIL FROM:<a@x.example>
        S: 250
        C: MAIL FROM:<a@x.example>
        S: 503 5.5.1 Nested
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: AUTH PLAIN
        S: 503 5.5.1
        C: RSET
        S: 250 2.0.0 Ok
        C: RCPT TO:<b@y.example>
        S: 503 5.5.1 Need MAIL
    """,
    "EHLO again forgets the envelope": f"""
        C: MAIL FROM:<a@x.example>
        S: 250
        {HELLO}
        C: RCPT TO:<b@y.example>
        S: 503
    """,
    "the small commands": """
        C: NOOP whatever
        S: 250 2.0.0 Ok
        C: HELP
        S: 214-2.0.0
        S: 214-2.0.0
        S: 214 2.0.0
        C: VRFY someone
        S: 252 2.0.0
        C: VRFY
        S: 501 5.5.4
        C: EXPN list
        S: 502 5.5.1
        C: ETRN x.example
        S: 251 2.0.0
        C: ETRN
        S: 501 5.5.4
        C: RSET now
        S: 501 5.5.4 Syntax: RSET
        C: DATA now
        S: 501 5.5.4
        C: TURN
        S: 502 5.5.1 Command not implemented
        C: hunter2
        S: 500 5.5.2 Command not recognized
        C:
        S: 500 5.5.2 A blank line
        C: LHLO app
        S: 500 5.5.1 Send EHLO
        C: EHLO
        S: 501 5.5.4 Syntax: EHLO hostname
        C: HELO app
        S: 250 sandbox.localhost
    """,
    "parameters of MAIL": """
        C: MAIL FROM:<a@x.example> SIZE=268435457
        S: 552 5.3.4 The limit is 268435456 octets
        C: MAIL FROM:<a@x.example> SIZE=-1
        S: 501 5.5.4 Bad value of SIZE
        C: MAIL FROM:<a@x.example> SIZE=1 SIZE=1
        S: 501 5.5.4 SIZE is given twice
        C: MAIL FROM:<a@x.example> BODY=9BIT
        S: 501 5.5.4
        C: MAIL FROM:<a@x.example> SMTPUTF8=yes
        S: 501 5.5.4 SMTPUTF8 takes no value
        C: MAIL FROM:<a@x.example> RET=ALL
        S: 501 5.5.4
        C: MAIL FROM:<a@x.example> ENVID=a=b
        S: 501 5.5.4
        C: MAIL FROM:<a@x.example> HOLDFOR=5
        S: 555 5.5.4 Unsupported option: HOLDFOR
        C: MAIL FROM:<a@x.example> NOTIFY=NEVER
        S: 555 5.5.4 Unsupported option: NOTIFY
        C: MAIL FROM:<a@x.example> =
        S: 501 5.5.4
        C: MAIL FROM:<a@x.example>SIZE=1
        S: 501 5.1.7
        C: MAIL FROM:<a@x.example> SIZE=1 BODY=7bit RET=FULL ENVID=QQ+2B314159 AUTH=<> SMTPUTF8
        S: 250
    """,
    "parameters of RCPT": """
        C: MAIL FROM:<a@x.example>
        S: 250
        C: RCPT TO:<b@y.example> NOTIFY=NEVER ORCPT=rfc822;b+2Bc@y.example
        S: 250
        C: RCPT TO:<b@y.example> NOTIFY=NEVER,SUCCESS
        S: 501 5.5.4 Bad value of NOTIFY
        C: RCPT TO:<b@y.example> ORCPT=b@y.example
        S: 501 5.5.4 Bad value of ORCPT
        C: RCPT TO:<b@y.example> SIZE=5
        S: 555 5.5.4 Unsupported option: SIZE
    """,
    "non-ASCII addresses need SMTPUTF8": """
        C: MAIL FROM:<jörg@x.example>
        S: 553 5.6.7
        C: MAIL FROM:<jörg@x.example> SMTPUTF8
        S: 250
        C: RCPT TO:<用户@例え.example>
        S: 250
        C: RSET
        S: 250
        C: MAIL FROM:<a@x.example>
        S: 250
        C: RCPT TO:<jörg@x.example>
        S: 553 5.6.7
    """,
    "BDAT": """
        C: MAIL FROM:<a@x.example> BODY=BINARYMIME
        S: 250
        C: BDAT 5
        S: 554 5.5.1 No valid recipients
        C: RSET
        S: 250
        C: MAIL FROM:<a@x.example> BODY=BINARYMIME
        S: 250
        C: RCPT TO:<b@y.example>
        S: 250
        C: DATA
        S: 503 5.5.1 BODY=BINARYMIME needs BDAT
        C: BDAT 100
        S: 250 2.0.0 Ok, 100 octets
        C: BDAT 0
        S: 250 2.0.0 Ok, 0 octets
        C: DATA
        S: 503 5.5.1 DATA after BDAT
        C: RCPT TO:<c@y.example>
        S: 503 5.5.1 RCPT after BDAT
        C: BDAT 11 LAST
        S: 250 2.0.0 Ok, 111 octets kept as 01KTEST-1
        C: BDAT 1 LAST
        S: 503 5.5.1 Need MAIL
        C: BDAT 0x5
        S: 521 5.5.4 Syntax: BDAT octets [LAST] (close)
    """,
    "a BDAT that fails goes on failing": """
        C: MAIL FROM:<a@x.example>
        S: 250
        C: RCPT TO:<datacmd-451@y.example>
        S: 250
        C: BDAT 5
        S: 451 4.3.0
        C: BDAT 5
        S: 503 5.5.1 A BDAT before this one has failed
        C: MAIL FROM:<a@x.example>
        S: 503 5.5.1 Nested
        C: BDAT 5 LAST
        S: 503 5.5.1 A BDAT before
        C: MAIL FROM:<a@x.example>
        S: 250
        C: RCPT TO:<b@y.example>
        S: 250
        C: BDAT 268435457
        S: 552 5.3.4
        C: RSET
        S: 250
        C: MAIL FROM:<a@x.example>
        S: 250
    """,
    "AUTH": f"""
        C: AUTH
        S: 501 5.5.4
        C: AUTH DIGEST-MD5
        S: 504 5.5.4
        C: AUTH PLAIN {b64("x")} extra
        S: 501 5.5.4
        C: AUTH PLAIN not*base64
        S: 501 5.5.2 Not base64
        C: AUTH PLAIN {b64("no NULs")}
        S: 501 5.5.2 PLAIN wants
        C: AUTH PLAIN =
        S: 501 5.5.2 PLAIN wants
        C: AUTH PLAIN
        S: 334
        C: *
        S: 501 5.7.0 Authentication cancelled
        C: AUTH PLAIN
        S: 334
        C: YQ
        S: 501 5.5.2 Not base64
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: {"QUJD" * 3072}QUJD
        S: 500 5.5.6
        C: AUTH plain
        S: 334
        C: {b64(chr(0) + "alice" + chr(0) + "secret")}
        S: 235 2.7.0
        C: AUTH PLAIN
        S: 503 5.5.1 Already authenticated
    """,
    "AUTH LOGIN": f"""
        C: AUTH LOGIN
        S: 334 {b64("Username:")}
        C: {b64("alice")}
        S: 334 {b64("Password:")}
        C: {b64("secret")}
        S: 235
    """,
    "AUTH LOGIN with the user at once": f"""
        C: AUTH LOGIN {b64("alice")}
        S: 334 {b64("Password:")}
        C:
        S: 235
    """,
    "AUTH CRAM-MD5": f"""
        C: AUTH CRAM-MD5 {b64("alice")}
        S: 501 5.5.4
        C: AUTH CRAM-MD5
        S: 334 {b64("<01KTEST.2@sandbox.localhost>")}
        C: {b64("alice " + "0123456789abcdef" * 2)}
        S: 235
    """,
    "AUTH XOAUTH2": f"""
        C: AUTH XOAUTH2 {b64("user=auth-535@x.example" + chr(1) + "auth=Bearer t" + chr(1) * 2)}
        S: 334 {b64('{"status":"401"')[:-4]}
        C:
        S: 535 5.7.8 the credentials are not valid (asked for by auth-535)
        C: AUTH XOAUTH2
        S: 334
        C: {b64("user=alice" + chr(1) + "auth=Bearer t" + chr(1) * 2)}
        S: 235
    """,
}


@pytest.mark.parametrize("name", SMTP)
def test_transcript(name: str) -> None:
    client = Client()
    play(client, HELLO + SMTP[name])


def test_nothing_much_goes_before_ehlo() -> None:
    play(
        Client(),
        """
        C: MAIL FROM:<a@x.example>
        S: 503 5.5.1 Send EHLO first
        C: AUTH PLAIN
        S: 503 5.5.1 Send EHLO first
        C: STARTTLS
        S: 503 5.5.1 Send EHLO first
        C: NOOP
        S: 250
        C: RSET
        S: 250
        C: QUIT
        S: 221
        """,
    )


LMTP = """
    C: EHLO app
    S: 500 5.5.1 Send LHLO
    C: LHLO app
    S: 250-sandbox.localhost
    S: 250-PIPELINING
    S: 250-SIZE 10
    S: 250-VRFY
    S: 250-ETRN
    S: 250-AUTH
    S: 250-ENHANCEDSTATUSCODES
    S: 250-8BITMIME
    S: 250-DSN
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-BINARYMIME
    S: 250 HELP
    C: STARTTLS
    S: 502 5.5.1
    C: MAIL FROM:<a@x.example>
    S: 250
    C: RCPT TO:<rcpt-550@y.example>
    S: 550 5.1.1
    C: DATA
    S: 503 5.5.1 No valid recipients
    C: RCPT TO:<b@y.example>
    S: 250
    C: RCPT TO:<data-552-5.2.2@y.example>
    S: 250
    C: RCPT TO:<b@y.example>
    S: 250
    C: DATA
    S: 354
    C: short
    S: 250 2.0.0
    S: 552 5.2.2
    S: 250 2.0.0
    C: MAIL FROM:<a@x.example>
    S: 250
    C: RCPT TO:<b@y.example>
    S: 250
    C: RCPT TO:<c@y.example>
    S: 250
    C: BDAT 5
    S: 250
    C: BDAT 6 LAST
    S: 552 5.3.4
    S: 552 5.3.4
    C: MAIL FROM:<a@x.example>
    S: 250
    C: RCPT TO:<b@y.example>
    S: 250
    C: RCPT TO:<c@y.example>
    S: 250
    C: BDAT 5 LAST
    S: 250
    S: 250
    C: MAIL FROM:<a@x.example>
    S: 250
    C: RCPT TO:<b@y.example>
    S: 250
    C: RCPT TO:<drop-data@y.example>
    S: 250
    C: DATA
    S: 354
    C: short
    S: drop
"""


def test_lmtp_has_a_reply_per_recipient() -> None:
    play(Client(Sandbox(size_limit=10), is_lmtp=True, offers_starttls=False), LMTP)


def test_after_tls_the_session_starts_afresh() -> None:
    client = Client()
    play(client, HELLO)
    play(
        client,
        f"""
        C: AUTH PLAIN {b64(chr(0) + "alice" + chr(0) + "secret")}
        S: 235
        C: MAIL FROM:<a@x.example>
        S: 250
        C: STARTTLS please
        S: 501 5.5.4
        C: STARTTLS
        S: 220 2.0.0
        """,
    )
    client.is_tls = True
    play(
        client,
        """
        C: MAIL FROM:<a@x.example>
        S: 503 5.5.1 Send EHLO first
        """,
    )
    assert "STARTTLS" not in client.say("EHLO app")
    play(
        client,
        f"""
        C: STARTTLS
        S: 503 5.5.1 TLS stands already
        C: RCPT TO:<b@y.example>
        S: 503 5.5.1 Need MAIL
        C: AUTH PLAIN {b64(chr(0) + "alice" + chr(0) + "secret")}
        S: 235
        """,
    )


def test_content_over_the_limit_is_refused_after_its_end() -> None:
    client = Client(Sandbox(size_limit=10))
    client.say("EHLO app")
    play(
        client,
        """
        C: MAIL FROM:<a@x.example> SIZE=10
        S: 250
        C: RCPT TO:<b@y.example>
        S: 250
        C: DATA
        S: 354
        C: eleven more
        S: 552 5.3.4
        C: MAIL FROM:<a@x.example>
        S: 250
        """,
    )


def test_no_limit() -> None:
    client = Client(Sandbox(size_limit=0))
    assert "250-SIZE 0\n" in client.say("EHLO app")
    assert client.say("MAIL FROM:<a@x.example> SIZE=99999999999999999999").startswith("250 ")


def test_recipients_are_limited() -> None:
    client = Client()
    client.say("EHLO app")
    client.say("MAIL FROM:<>")
    for number in range(1000):
        assert client.say(f"RCPT TO:<u{number}@y.example>").startswith("250 ")
    assert client.say("RCPT TO:<late@y.example>") == "452 4.5.3 Too many recipients"
