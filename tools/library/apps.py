"""What the apps of the library do: real clients, each with one habit worth recording; no server here.

A play does not judge: whether the conversation showed what it is to show is read from the recording.
"""

import contextlib
import smtplib
from collections.abc import Callable, Iterator, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import urlsplit

from tests.ends import PATIENCE_S, Patience, trusting
from tests.programs import program
from tests.real.clients import CLIENTS, Mail
from tests.real.postfix import run_postfix
from tests.real.privileges import require_root
from tools.library.scenario import Account, App, Play

NAME = "app.example.test"
"""What every client calls itself."""
SENDER = "app@example.test"
BOB = "bob@example.test"
CAROL = "carol@example.test"
NOBODY = "nobody@example.test"
ABROAD = "customer@elsewhere.example"

TEXT = (
    "Hello Bob,",
    "",
    "what follows is what mail programs get wrong:",
    ".",
    "..",
    ".a dot in front",
    "From a line that looks like a mailbox's",
    "",
    "Regards, the app",
)
LONG = ("One line of a message that is larger than the server likes.",) * 180


def message(topic: str, *lines: str) -> bytes:
    """Headers and body with CRLF; the same each time, so that two recordings of it have the same content."""
    head = (
        f"From: App <{SENDER}>",
        f"To: Bob <{BOB}>",
        f"Subject: {topic}",
        "Date: Mon, 23 Nov 2026 17:00:00 +0000",
        f"Message-ID: <{topic}@example.test>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {'7bit' if ''.join(lines).isascii() else '8bit'}",
        "",
    )
    return "".join(f"{line}\r\n" for line in (*head, *lines)).encode()


def sends(
    client: str,
    *options: str,
    tls: str = "plain",
    sender: str = SENDER,
    recipients: Sequence[str] = (BOB,),
    mechanism: str = "",
    text: Sequence[str] = TEXT,
    times: int = 1,
) -> Play:
    """One message by a program of `CLIENTS`, on as many connections as it is to try."""

    def play(app: App) -> None:
        mail = Mail(
            url=app.url,
            tls=tls,
            ca=app.ca,
            message=message(app.topic, *text),
            folder=app.folder,
            recipients=recipients,
            account=_password(app.account, client),
            mechanism=mechanism,
            options=[*options, *_token(app.account, client)],
            sender=sender,
            name=NAME,
        )
        for _ in range(times):
            with contextlib.suppress(smtplib.SMTPException):
                CLIENTS[client](mail)

    return play


def _password(account: Account | None, client: str) -> tuple[str, str] | None:
    """User and password; all clients but curl take a bearer token as one."""
    if account is None or (client == "curl" and account.token):
        return None
    return account.user, account.password or account.token


def _token(account: Account | None, client: str) -> list[str]:
    """How curl is given a bearer token."""
    if account is None or not account.token or client != "curl":
        return []
    return ["--user", account.user, "--oauth2-bearer", account.token]


def relay_by_postfix(app: App) -> None:
    """A Postfix of its own is given a message for two, and delivers it where the app would."""
    target = urlsplit(app.url)
    settings = {
        "relayhost": f"[{target.hostname}]:{target.port}",
        "smtp_helo_name": NAME,
        "smtp_tls_security_level": "may",
        "virtual_mailbox_domains": "",
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
    }
    require_root("Postfix")
    # It offers no TLS itself, so that it needs no certificate.
    with run_postfix(program=program, certificate=b"", key=b"", accounts={}, settings=settings) as relay:
        with smtplib.SMTP("127.0.0.1", relay.plain, NAME, timeout=PATIENCE_S) as smtp:
            smtp.sendmail(SENDER, [BOB, CAROL], message(app.topic, *TEXT))
        Patience("Postfix to relay the message").until(lambda: ": removed" in relay.log())


def talks(talk: Callable[[smtplib.SMTP, bytes], object], *text: str, tls: str = "plain") -> Play:
    """A conversation by smtplib, which is handed the message; it says QUIT if the server is still there."""

    def play(app: App) -> None:
        with _connected(app, tls) as smtp:
            talk(smtp, message(app.topic, *(text or TEXT)))

    return play


@contextlib.contextmanager
def _connected(app: App, tls: str) -> Iterator[smtplib.SMTP]:
    host, port = urlsplit(app.url).hostname or "", urlsplit(app.url).port or 0
    context = trusting(app.ca)
    with contextlib.suppress(smtplib.SMTPException), contextlib.ExitStack() as stack:
        smtp: smtplib.SMTP
        if tls == "implicit":
            smtp = smtplib.SMTP_SSL(host, port, NAME, timeout=PATIENCE_S, context=context)
        else:
            smtp = smtplib.SMTP(host, port, NAME, timeout=PATIENCE_S)
        stack.enter_context(smtp)
        if tls == "starttls":
            smtp.starttls(context=context)
        yield smtp


# what it may say


def send_one(smtp: smtplib.SMTP, mail: bytes) -> None:
    """The usual."""
    smtp.sendmail(SENDER, [BOB], mail)


def send_three(smtp: smtplib.SMTP, mail: bytes) -> None:
    """Three messages; between the second and the third it thinks again (RFC 5321 4.1.1.5)."""
    smtp.sendmail(SENDER, [BOB], mail)
    smtp.sendmail(SENDER, [CAROL], mail)
    smtp.mail(SENDER)
    smtp.rcpt(BOB)
    smtp.rset()
    smtp.sendmail(SENDER, [BOB, CAROL], mail)


def send_to_some(smtp: smtplib.SMTP, mail: bytes) -> None:
    """Two recipients that exist and one that does not."""
    smtp.sendmail(SENDER, [BOB, NOBODY, CAROL], mail)


def send_eight_bit(smtp: smtplib.SMTP, mail: bytes) -> None:
    """RFC 6152."""
    smtp.sendmail(SENDER, [BOB], mail, mail_options=["BODY=8BITMIME"])


def send_with_notification(smtp: smtplib.SMTP, mail: bytes) -> None:
    """RFC 3461, all four parameters; xtext in ENVID and ORCPT."""
    smtp.sendmail(
        SENDER,
        [BOB],
        mail,
        mail_options=["RET=HDRS", "ENVID=invoice+2B42"],
        rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;bob+2Bbilling@example.test"],
    )


def send_international(smtp: smtplib.SMTP, mail: bytes) -> None:
    """RFC 6531 by `send_message`, which asks for SMTPUTF8 by itself where an address needs it."""
    note = EmailMessage()
    note["From"] = Address("Grüße GmbH", "grüße", "example.test")
    note["To"] = Address("Jürgen", "jürgen", "example.test")
    note["Subject"] = "Grüße aus Köln ✓"
    note["Date"] = "Mon, 23 Nov 2026 17:00:00 +0000"
    note["Message-ID"] = "<international@example.test>"
    note.set_content("Schöne Grüße!\n", cte="8bit")
    smtp.send_message(note)


def send_in_chunks(smtp: smtplib.SMTP, mail: bytes) -> None:
    """RFC 3030: two chunks, each answered before the next, and an empty last one."""
    _begin(smtp, "BODY=8BITMIME")
    half = len(mail) // 2
    for size, last, chunk in (
        (half, "", mail[:half]),
        (len(mail) - half, "", mail[half:]),
        (0, " LAST", b""),
    ):
        smtp.send(b"BDAT %d%s\r\n" % (size, last.encode()) + chunk)
        smtp.getreply()


def send_in_chunks_at_once(smtp: smtplib.SMTP, mail: bytes) -> None:
    """RFC 3030 with RFC 2920: binary content cut within a line, in one segment, then the replies."""
    _begin(smtp, "BODY=BINARYMIME")
    binary = mail + bytes(range(255, -1, -1))
    half = len(binary) // 2
    smtp.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (half, binary[:half], len(binary) - half, binary[half:]))
    smtp.getreply()
    smtp.getreply()


def _begin(smtp: smtplib.SMTP, *options: str) -> None:
    smtp.ehlo()
    smtp.mail(SENDER, options)
    smtp.rcpt(BOB)


def ask_around(smtp: smtplib.SMTP, mail: bytes) -> None:
    """No mail at all: what else there is to say, some of it wrong."""
    smtp.ehlo()
    for command in (
        "NOOP",
        f"VRFY {BOB}",
        "HELP",
        "TELEPATHY on",
        "RSET",
        "DATA",
        f"MAIL FROM:<{SENDER}> COLOUR=red",
    ):
        smtp.docmd(command)
