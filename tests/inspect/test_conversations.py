"""A recorded session as a test sees it: commands, replies, TLS, findings, messages."""

from email.message import EmailMessage

import pytest

from smtpproxy.inspect.conversations import Conversation as View
from smtpproxy.recording.codec import encode
from smtpproxy.session.events import Redacted, Reply
from tests.conversation import PROXY, Conversation, delivery


def view(talk: Conversation) -> View:
    return View([encode(event) for event in talk.events])


def test_commands_and_replies_are_strings() -> None:
    session = view(delivery())
    assert session.commands == [
        "EHLO app",
        "MAIL FROM:<alice@example.com> SIZE=42",
        "RCPT TO:<bob@example.com>",
        "RCPT TO:<carol@example.com>",
        "DATA",
        "QUIT",
    ]
    assert session.replies[:3] == ["220 mx ESMTP", "250-mx\n250 PIPELINING", "250 2.1.0 ok"]
    assert session.replies[-1] == "221 2.0.0 bye"


def test_a_command_knows_its_parts_and_its_reply() -> None:
    session = view(delivery())
    mail = session.commands[1]
    assert (mail.verb, mail.argument, mail.raw) == (
        "MAIL",
        "FROM:<alice@example.com> SIZE=42",
        b"MAIL FROM:<alice@example.com> SIZE=42\r\n",
    )
    assert (mail.from_, mail.to, mail.n, mail.t) == ("client", "server", 4, 0.04)
    assert mail.reply is not None
    assert (mail.reply.code, mail.reply.enhanced, mail.reply.text) == (250, "", "2.1.0 ok")
    assert [command.reply and command.reply.code for command in session.commands] == [
        250, 250, 250, 250, 354, 221
    ]  # fmt: skip


def test_a_reply_of_several_lines() -> None:
    (_, ehlo, *_) = view(delivery()).replies
    assert (ehlo.code, ehlo.lines, ehlo.text) == (250, ["mx", "PIPELINING"], "mx\nPIPELINING")
    assert ehlo.raw == b"250-mx\r\n250 PIPELINING\r\n"
    assert view(delivery()).replies[0].answers is None
    assert ehlo.answers == 2


def test_what_is_a_secret_is_a_placeholder() -> None:
    talk = Conversation().client(
        "AUTH PLAIN {{secret}}",
        mechanism="PLAIN",
        identity="alice",
        redacted=[Redacted(at=11, kind="password", length=32)],
    )
    (auth,) = view(talk).commands
    assert auth == "AUTH PLAIN {{secret}}"
    assert (auth.mechanism, auth.identity) == ("PLAIN", "alice")


def test_a_login_has_all_the_replies_of_its_exchange() -> None:
    talk = Conversation().client("AUTH LOGIN", mechanism="LOGIN").server("334 VXNlcm5hbWU6")
    talk.sasl("{{user}}").server("334 UGFzc3dvcmQ6").sasl("{{secret}}", step=2).server("235 ok")
    (auth,) = view(talk.client("QUIT").server("221 bye")).commands[:1]
    assert [reply.code for reply in auth.replies] == [334, 334, 235]
    assert auth.reply == "235 ok"


def test_a_line_in_pieces_is_one_command() -> None:
    talk = (
        Conversation()
        .client(b"NOOP aaa", partial=True)
        .client(b"bbb\r\n")
        .server("250-one", answers=2)
        .server("250 two", answers=2)
    )
    first_piece = talk.events[3]
    assert isinstance(first_piece, Reply)
    first_piece.partial = True
    session = view(talk)
    assert session.commands == ["NOOP aaabbb"]
    assert session.replies == ["250-one\n250 two"]
    assert session.commands[0].reply == session.replies[0]


def test_what_the_proxy_asks_is_not_the_clients() -> None:
    talk = (
        Conversation()
        .asks("EHLO app")
        .server("250 mx", to=PROXY)
        .client("STARTTLS", to=PROXY)
        .server("220 go", from_=PROXY)
    )
    session = view(talk)
    assert session.commands == ["STARTTLS"]
    assert session.commands[0].to == "proxy"
    assert session.replies == ["220 go"]


def test_tls_of_each_leg() -> None:
    plain = view(Conversation())
    assert not plain.tls
    assert (plain.tls.client, plain.tls.server) == (None, None)
    server = view(Conversation().tls("server", verified=True))
    assert server.tls
    assert server.tls.client is None
    assert server.tls.server is not None
    assert (server.tls.server.version, server.tls.server.verified) == ("TLSv1.3", True)
    assert repr(server.tls) == "<TLS server: TLSv1.3 TLS_AES_256_GCM_SHA384>"


def test_a_handshake_that_failed_is_no_tls() -> None:
    session = view(Conversation().tls("client", error="the app does not trust us", alert="unknown_ca"))
    assert not session.tls
    assert [failed.alert for failed in session.tls.failed] == ["unknown_ca"]
    assert repr(session.tls) == "<TLS client: failed, the app does not trust us>"


def test_findings_are_codes() -> None:
    session = view(Conversation().finding("bare-lf", "a line ended in LF alone"))
    assert session.findings == ["bare-lf"]
    assert session.findings[0].text == "a line ended in LF alone"


def test_how_it_ended() -> None:
    session = view(delivery())
    assert (session.outcome, session.reason, session.is_open) == ("delivered", "quit", False)
    session = view(delivery(is_open=True))
    assert (session.outcome, session.reason, session.is_open) == ("open", "", True)


def test_a_message_is_what_the_client_meant() -> None:
    (message,) = view(delivery(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=")).messages
    assert message.mail_from == "alice@example.com"
    assert message.rcpt_to == ["bob@example.com", "carol@example.com"]
    assert message.content.endswith(b"\r\n\r\nHi Bob,\r\n.dotted\r\n")
    assert message.subject == "Grüße"
    assert message.headers["from"] == "Alice <alice@example.com>"
    assert (message.text, message.html, message.attachments) == ("Hi Bob,\n.dotted\n", "", [])
    assert message.replies == ["250 2.0.0 queued as 4F1"]
    assert repr(message) == (
        "<message from 'alice@example.com' to 'bob@example.com, carol@example.com': 'Grüße', 91 octets>"
    )


def test_a_message_in_chunks() -> None:
    talk = (
        Conversation()
        .client("MAIL FROM:<a@example.com>")
        .server("250 ok")
        .client("RCPT TO:<b@example.com>")
        .server("250 ok")
        .chunk(b"Subject: one\r\n")
        .server("250 go on")
        .chunk(b"\r\ntwo\r\n.\r\n", last=True)
        .server("250 queued")
    )
    (message,) = view(talk).messages
    assert message.content == b"Subject: one\r\n\r\ntwo\r\n.\r\n"
    assert message.replies == ["250 queued"]


def test_a_message_that_was_cut_off_is_none() -> None:
    talk = Conversation().client("DATA").server("354 go").content("Subject: x\r\n", end="")
    assert view(talk).messages == []


def test_bodies_and_attachments() -> None:
    email = EmailMessage()
    email["Subject"] = "Invoice"
    email.set_content("Plain text\n")
    email.add_alternative("<p>HTML</p>\n", subtype="html")
    email.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="invoice.pdf")
    inner = EmailMessage()
    inner["Subject"] = "Forwarded"
    email.add_attachment(inner)
    talk = Conversation().client("DATA").server("354 go").content(email.as_bytes().replace(b"\n", b"\r\n"))
    (message,) = view(talk).messages
    assert message.text == "Plain text\n"
    assert message.html == "<p>HTML</p>\n"
    pdf, forwarded = message.attachments
    assert pdf == ("invoice.pdf", "application/pdf", b"%PDF-")
    assert forwarded.type == "message/rfc822"
    assert b"Subject: Forwarded" in forwarded.content


@pytest.mark.parametrize(
    "content", [b"", b"\r\n", b"no header at all", b"Content-Type: multipart/mixed\r\n\r\n"]
)
def test_a_message_that_is_hardly_one(content: bytes) -> None:
    talk = Conversation().client("DATA").server("354 go").content(content)
    (message,) = view(talk).messages
    assert message.content == content
    assert message.subject == ""
    assert isinstance(message.text, str)


def test_a_failure_shows_the_transcript() -> None:
    shown = repr(view(delivery()))
    assert shown.startswith(
        "<session 01KAAAAAAAAAAAAAAAAAAAAAAA, 127.0.0.1:50312 to smtp://mx.example.com:25: delivered>\n"
    )
    assert "\n -> MAIL FROM:<alice@example.com> SIZE=42\n<-  250 2.1.0 ok\n" in shown
    assert "Hi Bob," in shown
