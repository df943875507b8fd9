"""What the programs can do beyond one plain message: pipelining, LMTP, many at once, refusals, large ones."""

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ends import PATIENCE_S, End, Patience, serve_commands, serve_ehlo
from tests.real.clients import CLIENTS, SENDER, Mail
from tests.real.conftest import message_with
from tests.real.postfix import SIZE_LIMIT
from tests.real.proxy import Proxy, run_proxy, smtpproxy
from tests.real.servers import AiosmtpdServer, PostfixServer, SinkServer, run_sink
from tests.real.stage import Stage


@pytest.fixture(scope="module")
def to_postfix(
    postfix: PostfixServer, server_ca: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """In front of Postfix, with XCLIENT passed on."""
    route = ("smtp://127.0.0.1:0", f"smtp://localhost:{postfix.ports['starttls']}")
    folder = tmp_path_factory.mktemp("to-postfix")
    with run_proxy(folder, route, upstream_ca=server_ca, arguments=["--ehlo", "XCLIENT=pass"]) as proxy:
        yield proxy


def mail_to(
    proxy: Proxy, folder: Path, *options: str, recipients: tuple[str, ...] = ("bob@example.test",)
) -> Mail:
    """A plain message with the folder's name as its marker."""
    return Mail(
        url=proxy.listen[0],
        tls="plain",
        ca=proxy.ca,
        message=message_with(folder.name.encode()),
        folder=folder,
        recipients=recipients,
        options=options,
    )


def test_swaks_speaks_prdr(stage: Stage, tmp_path: Path) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "PRDR")
        for reply in (b"250 ok\r\n", b"250 one\r\n", b"250 two\r\n", b"354 go\r\n"):
            end.line()
            end.say(reply)
        end.until(b"\r\n.\r\n")
        end.say(b"353 analysis\r\n250 2.0.0 one\r\n550 5.7.1 not two\r\n250 2.0.0 in all\r\n")
        serve_commands(end, {})

    stage.server.forget()
    stage.server.script = server
    before = stage.proxy.mark()
    mail = Mail(
        url=f"smtp://127.0.0.1:{stage.ports['smtp-smtp']}",
        tls="plain",
        ca=stage.proxy.ca,
        message=message_with(b"prdr"),
        folder=tmp_path,
        recipients=("one@d.test", "two@d.test"),
        options=["--prdr"],
    )

    log = CLIENTS["swaks"](mail)

    stage.server.finish()
    session = stage.proxy.session(before)
    assert session.codes() == log.codes
    assert session.codes()[-5:] == [353, 250, 550, 250, 221]
    assert "desync" not in session.findings


def test_swaks_gives_postfix_another_name_by_xclient(
    to_postfix: Proxy, postfix: PostfixServer, tmp_path: Path
) -> None:
    before = to_postfix.mark()

    log = CLIENTS["swaks"](mail_to(to_postfix, tmp_path, "--xclient", "NAME=spike.test ADDR=192.0.2.7"))

    assert log.status == 0, log.text
    session = to_postfix.session(before)
    assert session.outcome == "delivered"
    assert session.codes() == log.codes
    assert b"spike.test [192.0.2.7]" in postfix.stored(tmp_path.name.encode())


def test_some_recipients_are_refused(to_postfix: Proxy, tmp_path: Path) -> None:
    before = to_postfix.mark()
    message = message_with(tmp_path.name.encode())

    with smtplib.SMTP("127.0.0.1", to_postfix.port, "app.test", timeout=PATIENCE_S) as smtp:
        refused = smtp.sendmail(SENDER, ["bob@example.test", "nobody@example.test", "x@far.test"], message)

    assert {address: code for address, (code, _) in refused.items()} == {
        "nobody@example.test": 550,
        "x@far.test": 554,
    }
    session = to_postfix.session(before)
    assert session.outcome == "partial"
    codes = [session.of("reply", answers=event["n"])[0] for event in session.of("command", verb="RCPT")]
    assert [(reply["code"], reply["enhanced"]) for reply in codes] == [
        (250, "2.1.5"),
        (550, "5.1.1"),
        (554, "5.7.1"),
    ]


def test_too_large_by_its_own_word_and_in_fact(to_postfix: Proxy) -> None:
    before = to_postfix.mark()
    line = b"x" * 70 + b"\r\n"
    message = b"Subject: large\r\n\r\n" + line * (SIZE_LIMIT // len(line) + 2_000)

    with smtplib.SMTP("127.0.0.1", to_postfix.port, "app.test", timeout=PATIENCE_S) as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused, match="552"):
            smtp.sendmail(SENDER, ["bob@example.test"], message)
        smtp.ehlo()
        smtp.mail(SENDER)
        smtp.rcpt("bob@example.test")
        code, _ = smtp.data(message)
        assert code == 552

    session = to_postfix.session(before)
    assert session.outcome == "rejected"
    assert session.codes().count(552) == 2
    assert session.content() == message


def test_large_message_arrives_octet_for_octet(
    aiosmtpd: AiosmtpdServer, tmp_path: Path, server_ca: Path
) -> None:
    marker = tmp_path.name.encode()
    message = message_with(marker) + b"".join(b"%d %s\r\n" % (n, b"." * (n % 80)) for n in range(100_000))
    route = ("smtps://127.0.0.1:0", f"smtps://localhost:{aiosmtpd.ports['implicit']}")
    with run_proxy(tmp_path, route, upstream_ca=server_ca) as proxy:
        before = proxy.mark()
        folder = tmp_path / "client"
        folder.mkdir()
        log = CLIENTS["curl"](
            Mail(url=proxy.listen[0], tls="implicit", ca=proxy.ca, message=message, folder=folder)
        )
        assert log.status == 0, log.text
        session = proxy.session(before)
    (stored,) = [one for one in aiosmtpd.messages if marker in one]
    assert stored == message
    assert session.content() == message


def test_lmtp_from_smtp_source_to_smtp_sink(tmp_path: Path) -> None:
    with (
        run_sink("-L") as sink,
        run_proxy(tmp_path, ("lmtp://127.0.0.1:0", f"lmtp://127.0.0.1:{sink.port}")) as proxy,
    ):
        log = CLIENTS["smtp-source"](mail_to(proxy, tmp_path, "-L", "-r", "3"))
        assert log.status == 0, log.text
        session = proxy.session(0)
    assert session.outcome == "delivered"
    assert session.verbs() == ["LHLO", "MAIL", "RCPT", "RCPT", "RCPT", "DATA", "QUIT"]
    assert session.codes()[-4:] == [250, 250, 250, 221], "one for each recipient"


def test_lmtp_over_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    with run_proxy(tmp_path, (f"lmtp+unix:{path}", None)) as proxy:
        before = proxy.mark()
        # One recipient: smtplib reads one reply to the message, however many there are.
        with smtplib.LMTP(str(path), local_hostname="app.test") as lmtp:
            assert lmtp.sendmail(SENDER, ["one@example.test"], message_with(b"unix")) == {}
        session = proxy.session(before)
    assert session.outcome == "delivered"
    assert session.verbs()[0] == "LHLO"
    assert session.content() == message_with(b"unix")


def test_many_sessions_at_once(sink: SinkServer, tmp_path: Path) -> None:
    messages, parallel = 300, 30
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", f"smtp://127.0.0.1:{sink.port}")) as proxy:
        mail = mail_to(proxy, tmp_path, "-s", str(parallel), "-m", str(messages))
        log = CLIENTS["smtp-source"](mail)
        assert log.status == 0, log.text
        sessions = proxy.sessions(0, messages)
        rows = smtpproxy("sessions", "--store", proxy.store, "--json").splitlines()
    assert {session.outcome for session in sessions} == {"delivered"}
    assert {session.content() for session in sessions} == {mail.message + b"\r\n"}
    assert len({session.id for session in sessions}) == len(rows) == messages
    Patience("the sink to have them all").until(
        lambda: sum(tmp_path.name.encode() in message for message in sink.messages()) == messages
    )


def test_many_messages_on_one_connection(sink: SinkServer, tmp_path: Path) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", f"smtp://127.0.0.1:{sink.port}")) as proxy:
        mail = mail_to(proxy, tmp_path, "-d", "-m", "50")
        log = CLIENTS["smtp-source"](mail)
        assert log.status == 0, log.text
        session = proxy.session(0)
    assert session.end["messages"] == 50
    assert all(session.content(number) == mail.message + b"\r\n" for number in range(1, 51))


@pytest.mark.parametrize(
    ("recipient", "code"), [("rcpt-550@example.test", 550), ("greylist@example.test", 450)]
)
def test_sandbox_refuses_by_address(tmp_path: Path, recipient: str, code: int) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", None)) as proxy:
        with smtplib.SMTP("127.0.0.1", proxy.port, timeout=PATIENCE_S) as smtp:
            smtp.ehlo("app.test")
            smtp.mail(SENDER)
            assert smtp.rcpt(recipient)[0] == code
        assert code in proxy.session(0).codes()
