"""What is secret in a session stays out of its recording, and nothing else does: transcripts."""

from base64 import b64encode
from hashlib import sha256

import pytest

from smtpproxy.recording.redaction import Redactor
from smtpproxy.session.events import (
    UNSET,
    Command,
    Content,
    End,
    Opaque,
    Redacted,
    Reply,
    Tls,
)
from smtpproxy.session.findings import FINDINGS
from tests.recording.events import samples
from tests.recording.talk import Talk

PASSWORD = "correct horse"
PLAIN = b64encode(f"\0alice\0{PASSWORD}".encode()).decode()


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


def signed_in_with(blob: str = PLAIN, *, reply: str = "535 5.7.8 no\r\n", mechanism: str = "PLAIN") -> Talk:
    talk = Talk()
    talk.client(f"AUTH {mechanism} <<password:{blob}>>\r\n", identity="alice")
    talk.server(reply)
    return talk


def test_auth_keeps_mechanism_identity_and_shape() -> None:
    talk = Talk()
    talk.client(f"AUTH PLAIN <<password:{PLAIN}>>\r\n", identity="alice")
    assert talk.lines == (
        b'{"kind":"command","n":0,"session":"s","t":0.0,"from":"client","to":"server",'
        b'"raw":"AUTH PLAIN {{secret}}\\r\\n","redacted":[{"at":11,"kind":"password","length":28}],'
        b'"verb":"AUTH","mechanism":"PLAIN","identity":"alice"}'
    )


def test_login_line_by_line_keeps_the_servers_challenges() -> None:
    talk = Talk()
    assert talk.client("AUTH LOGIN\r\n") == b"AUTH LOGIN\r\n"
    assert talk.server("334 VXNlcm5hbWU6\r\n") == b"334 VXNlcm5hbWU6\r\n"
    assert talk.sasl(b64("alice") + "\r\n", mechanism="LOGIN", identity="alice") == b"{{secret}}\r\n"
    assert talk.server("334 UGFzc3dvcmQ6\r\n") == b"334 UGFzc3dvcmQ6\r\n"
    assert talk.sasl(b64(PASSWORD) + "\r\n", mechanism="LOGIN") == b"{{secret}}\r\n"
    assert talk.server("235 2.7.0 welcome alice\r\n") == b"235 2.7.0 welcome alice\r\n"


def test_a_cancelled_exchange_shows_how_it_was_cancelled() -> None:
    talk = Talk()
    talk.client("AUTH LOGIN\r\n")
    talk.server("334 VXNlcm5hbWU6\r\n")
    assert talk.sasl("*\r\n", mechanism="LOGIN") == b"*\r\n"
    assert talk.sasl("\r\n", mechanism="XOAUTH2") == b"\r\n"
    assert b"redacted" not in talk.lines


def test_several_spans_in_one_line() -> None:
    talk = Talk()
    raw = talk.client(
        "BURL imap://x;urlauth=anonymous:internal:<<url-token:91354a473744909d>> <<x:LAST>>\r\n"
    )
    assert raw == b"BURL imap://x;urlauth=anonymous:internal:{{secret}} {{secret}}\r\n"
    event = talk.events[0]
    assert isinstance(event, Command)
    assert event.redacted == [
        Redacted(at=41, kind="url-token", length=16),
        Redacted(at=52, kind="x", length=4),
    ]


def test_octets_that_were_text_only_without_the_secret() -> None:
    talk = Talk()
    talk.client(b"AUTH PLAIN <<password:\xff\xfe\xfd\xfc\xfb>>\r\n")
    event = talk.events[0]
    assert isinstance(event, Command)
    assert (event.raw, event.raw_b64) == ("AUTH PLAIN {{secret}}\r\n", UNSET)


def test_scrams_server_signature_goes_and_is_known_from_then_on() -> None:
    talk = Talk()
    signature = b64("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    assert talk.server(f"334 <<proof:{signature}>>\r\n") == b"334 {{secret}}\r\n"
    assert talk.server(f"500 what is {signature}\r\n") == b"500 what is {{secret}}\r\n"


ECHOES = {
    "as sent": PLAIN,
    "upper-cased, as aiosmtpd does": PLAIN.upper(),
    "lower-cased": PLAIN.lower(),
    "without padding": PLAIN.rstrip("="),
    "decoded": f"\0alice\0{PASSWORD}",
    "the password": PASSWORD,
    "the password, shouted": PASSWORD.upper(),
    "the password as LOGIN would send it": b64(PASSWORD),
    "cut short": PLAIN[:20],
    "cut very short": PLAIN[:8],
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_what_a_server_quotes_is_no_way_out(echo: str) -> None:
    talk = signed_in_with()
    raw = talk.server(f'500-5.5.1 what is "{echo}"\r\n500 5.5.1 ({echo})?\r\n')
    assert raw == b'500-5.5.1 what is "{{secret}}"\r\n500 5.5.1 ({{secret}})?\r\n'
    reply = talk.events[-1]
    assert isinstance(reply, Reply)
    assert reply.redacted == [
        Redacted(at=19, kind="echo", length=len(echo)),
        Redacted(at=43, kind="echo", length=len(echo)),
    ]


@pytest.mark.parametrize(
    ("mechanism", "decoded", "secret"),
    [
        ("XOAUTH2", "user=alice\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3\x01\x01", "ya29.vF9dft4qmTc2Nvb3"),
        ("OAUTHBEARER", "n,a=alice,\x01host=x\x01auth=Bearer ya29.vF9dft4qm\x01\x01", "ya29.vF9dft4qm"),
        ("CRAM-MD5", "alice b913a602c7eda7a495b4e6e7334d3890", "b913a602c7eda7a495b4e6e7334d3890"),
        ("SCRAM-SHA-1", "c=biws,r=fyko,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="),
        ("DIGEST-MD5", "a=b,response=d388dad90d4bbd760a152321f2143af7", "d388dad90d4bbd760a152321f2143af7"),
        ("X-UNKNOWN", "what may this be", "what may this be"),
    ],
)  # fmt: skip
def test_the_secret_inside_each_mechanisms_line_is_known(mechanism: str, decoded: str, secret: str) -> None:
    talk = signed_in_with(b64(decoded), mechanism=mechanism)
    assert talk.server(f"535 bad {secret}, alice\r\n") == b"535 bad {{secret}}, alice\r\n"


@pytest.mark.parametrize("before", ["", "?", "no "])
@pytest.mark.parametrize("secret", [PLAIN, PASSWORD, f"\0alice\0{PASSWORD}"])
def test_a_secret_inside_the_base64_of_what_the_server_says(before: str, secret: str) -> None:
    talk = signed_in_with()
    recorded = talk.server(f"535 {b64(f'{before}{secret} is wrong')} no\r\n")
    head, _, tail = recorded.partition(b"{{secret}}")
    # The characters that the secret shares with its neighbours may stay: one before it, one behind it.
    assert len(head.removeprefix(b"535 ").rstrip(b"=")) * 6 <= len(before) * 8 + 6
    assert len(tail.removesuffix(b" no\r\n").rstrip(b"=")) * 6 <= len(" is wrong") * 8 + 12


def test_what_stands_behind_the_initial_response_may_be_another() -> None:
    other = b64("\0alice\0battery staple")
    talk = signed_in_with(f"{PLAIN} {other}")
    assert talk.server(f"535 {other}\r\n") == b"535 {{secret}}\r\n"
    raw = talk.server(f"535 neither {PASSWORD} nor battery staple\r\n")
    assert raw == b"535 neither {{secret}} nor {{secret}}\r\n"


@pytest.mark.parametrize(
    ("line", "recorded"),
    [
        (f"AUTHPLAIN {PLAIN}", "AUTHPLAIN {{secret}}"),
        (f"AUTH:PLAIN {PLAIN}", "AUTH:PLAIN {{secret}}"),
        (f"LOGIN alice {PASSWORD}", "LOGIN {{secret}}"),
        (f"AUTHENTICATE PLAIN {PLAIN}", "AUTHENTICATE {{secret}}"),
        (f"pass {PASSWORD}", "pass {{secret}}"),
        (f"Authorization: Basic {PLAIN}", "Authorization: {{secret}}"),
        (f"AUTH{PLAIN}", "{{secret}}"),
        ("PASSIVE x", "PASSIVE x"),
    ],
)
def test_what_resembles_auth_is_doubted(line: str, recorded: str) -> None:
    talk = Talk()
    assert talk.client(line + "\r\n") == recorded.encode() + b"\r\n"


def test_the_identity_is_no_secret_but_the_line_that_told_it_is() -> None:
    talk = Talk()
    talk.client("AUTH LOGIN\r\n")
    talk.server("334 VXNlcm5hbWU6\r\n")
    talk.sasl(b64("alice@example.com") + "\r\n", mechanism="LOGIN", identity="alice@example.com")
    raw = talk.server(f"535 {b64('alice@example.com')} is alice@example.com\r\n")
    assert raw == b"535 {{secret}} is alice@example.com\r\n"


def test_short_passwords_are_ordinary_words_but_their_blobs_are_not() -> None:
    talk = signed_in_with(b64("\0alice\0test"))
    assert talk.server("250 test.example\r\n") == b"250 test.example\r\n"
    assert talk.server(f"500 {b64(chr(0) + 'alice' + chr(0) + 'test')}\r\n") == b"500 {{secret}}\r\n"


def test_envelope_and_content_stay_as_they_are() -> None:
    talk = signed_in_with()
    for line in (
        f"EHLO {PLAIN}\r\n",
        f"MAIL FROM:<{PLAIN}@x>\r\n",
        f"RCPT TO:<{PASSWORD}@x>\r\n",
        "DATA\r\n",
    ):
        assert talk.client(line) == line.encode()
    assert talk.content(f"{PLAIN} {PASSWORD}\r\n") == f"{PLAIN} {PASSWORD}\r\n".encode()


def test_lines_that_are_no_commands_may_quote_a_secret() -> None:
    talk = signed_in_with()
    talk.client("NOOP\r\n")
    assert talk.client(f"XDEBUG {PLAIN} x\r\n") == b"XDEBUG {{secret}} x\r\n"
    assert talk.client(f"{PLAIN}\r\n") == b"{{secret}}\r\n"
    assert [event.verb for event in talk.events[-2:]] == ["XDEBUG", "{{secret}}"]  # type: ignore[union-attr]


def test_auth_refused_and_the_client_goes_on_as_if_it_was_not() -> None:
    talk = Talk()
    talk.client("AUTH LOGIN\r\n")
    talk.server("503 5.5.1 not now\r\n")
    assert talk.client(b64("alice") + "\r\n") == b"{{secret}}\r\n"
    assert talk.server(f'502 what is "{b64("alice").upper()}"?\r\n') == b'502 what is "{{secret}}"?\r\n'
    assert talk.client("hunter2 hunter3\r\n") == b"{{secret}}\r\n"
    assert talk.server('502 what is "HUNTER2"?\r\n') == b'502 what is "{{secret}}"?\r\n'
    assert talk.client("*\r\n") == b"*\r\n"
    assert talk.client("\r\n") == b"\r\n"
    assert talk.client("NOOP\r\n") == b"NOOP\r\n"
    assert talk.client("XYZZY plugh\r\n") == b"XYZZY plugh\r\n"
    assert b"HUNTER2" not in talk.lines


def test_after_success_an_unknown_command_is_just_that() -> None:
    talk = signed_in_with(reply="235 2.7.0 ok\r\n")
    assert talk.client("XYZZY plugh\r\n") == b"XYZZY plugh\r\n"


def test_texts_for_people_quote_no_secret() -> None:
    talk = signed_in_with()
    meaning = FINDINGS["unknown-verb"]
    assert talk.finding("unknown-verb", f"{meaning}: {PLAIN[:30].upper()}") == f"{meaning}: {{{{secret}}}}"
    tls = talk.record(
        Tls(n=9, session="s", t=1.0, leg="server", error=f"no {PASSWORD}", advice=f"say {PLAIN}")
    )
    assert isinstance(tls, Tls)
    assert (tls.error, tls.advice) == ("no {{secret}}", "say {{secret}}")
    end = talk.record(End(n=10, session="s", t=1.0, outcome="failed", reason=f"internal: {PASSWORD}"))
    assert isinstance(end, End)
    assert end.reason == "internal: {{secret}}"


def test_a_findings_own_sentence_stays_even_if_it_was_a_password() -> None:
    talk = signed_in_with(b64("\0alice\0smuggling"))
    meaning = FINDINGS["smuggling-suspect"]
    assert "smuggling" in meaning
    assert talk.finding("smuggling-suspect", meaning) == meaning


def test_an_over_long_secret_in_pieces() -> None:
    talk = Talk()
    blob = b64encode(b"".join(sha256(b"%d" % n).digest() for n in range(3_000))).decode()
    assert talk.client(f"AUTH GSSAPI <<sasl:{blob[:60_000]}>>", partial=True) == b"AUTH GSSAPI {{secret}}"
    # Whatever the next piece looks like to who reads it, and whether it is marked or not.
    assert talk.client(blob[60_000:120_000], partial=True) == b"{{secret}}"
    assert talk.client(blob[120_000:] + "\r\n") == b"{{secret}}\r\n"
    assert {event.verb for event in talk.events[1:]} == {"{{secret}}"}  # type: ignore[union-attr]
    # What it means is not known, and what the server quotes of it neither.
    assert talk.server("535 5.7.8 what is " + blob[:100], partial=True) == b"535 5.7.8 {{secret}}"
    assert talk.server(blob[100:64_000], partial=True) == b"{{secret}}"
    assert talk.server("?\r\n") == b"{{secret}}\r\n"
    assert talk.client("NOOP\r\n") == b"NOOP\r\n"


def test_a_long_secret_that_the_server_quotes_in_pieces() -> None:
    blob = b64encode(b"".join(sha256(b"%d" % n).digest() for n in range(288))).decode()
    assert len(blob) == 12_288  # RFC 4954 4 has no longer ones
    talk = signed_in_with(blob)
    assert talk.server("500 what is " + blob[:100], partial=True) == b"500 what is {{secret}}"
    assert talk.server(blob[100:9_000], partial=True) == b"{{secret}}"
    assert talk.server(blob[9_000:], partial=True) == b"{{secret}}"
    assert talk.server("?\r\n") == b"?\r\n"


def test_an_over_long_secret_that_the_server_quotes_decoded() -> None:
    talk = signed_in_with(b64("\0alice\0" + PASSWORD * 2_000))
    assert talk.server(f"535 5.7.8 {PASSWORD} is no password\r\n") == b"535 5.7.8 {{secret}}\r\n"


@pytest.mark.parametrize("verb", ["AUTH", "X-EXPS"])
def test_an_over_long_auth_line_that_is_marked_as_a_whole_keeps_its_mechanism(verb: str) -> None:
    talk = Talk()
    assert (
        talk.client(f"<<sasl:{verb} PLAIN {PLAIN}>>", partial=True) == f"{verb} PLAIN {{{{secret}}}}".encode()
    )
    assert talk.client("<<sasl:AAAA\r\n>>") == b"{{secret}}\r\n"
    assert talk.server(f"500 AUTH PLAIN what? {PLAIN}\r\n") == b"500 AUTH PLAIN what? {{secret}}\r\n"
    assert talk.client("<<sasl:AUTH " + " " * 600 + ">>", partial=True) == b"AUTH{{secret}}"
    assert talk.client("<<sasl:secret\r\n>>") == b"{{secret}}\r\n"


def test_a_secret_in_the_mechanisms_place() -> None:
    talk = Talk()
    assert talk.client(f"AUTH {PLAIN}\r\n") == b"AUTH {{secret}}\r\n"
    event = talk.events[0]
    assert isinstance(event, Command)
    assert event.mechanism == "{{secret}}"
    assert talk.server(f"504 {PLAIN}?\r\n") == b"504 {{secret}}?\r\n"
    assert talk.client("auth plain <<password:eHl6>>\r\n") == b"auth plain {{secret}}\r\n"


def test_a_server_may_quote_an_over_long_line_before_it_ends() -> None:
    talk = Talk()
    talk.client(f"AUTH PLAIN <<password:{PLAIN[:3]}>>", partial=True)
    talk.client(PLAIN[3:] + "A" * 50_000, partial=True)
    assert talk.server(f"500 too long: {PLAIN}AAAAAA\r\n") == b"500 {{secret}}\r\n"


def test_a_secret_over_the_seam_of_two_pieces_of_a_reply() -> None:
    for cut in range(1, len(PASSWORD)):
        talk = signed_in_with()
        first = talk.server(f"500 what is {PASSWORD[:cut]}", partial=True)
        second = talk.server(f"{PASSWORD[cut:]}?\r\n")
        # Up to three octets of the beginning may be out before it is known to be one.
        assert first in (b"500 what is {{secret}}", f"500 what is {PASSWORD[: min(cut, 3)]}".encode())
        assert second == b"{{secret}}?\r\n"


def test_pieces_of_an_over_long_envelope_line_stay_as_they_are() -> None:
    talk = signed_in_with()
    assert talk.client(f"MAIL FROM:<{PLAIN}", partial=True) == f"MAIL FROM:<{PLAIN}".encode()
    assert talk.client(f"{PLAIN}@example.com>\r\n") == f"{PLAIN}@example.com>\r\n".encode()


def test_more_secrets_than_are_remembered_and_no_reply_is_trusted() -> None:
    talk = Talk()
    for attempt in range(600):
        talk.client(f"AUTH PLAIN <<password:{b64(f'{chr(0)}alice{chr(0)}guess number {attempt}')}>>\r\n")
        talk.server("535 5.7.8 no\r\n")
    assert talk.server("535-5.7.8 no: guess number 599\r\n535 5.7.8 bye\r\n") == (
        b"535-5.7.8 {{secret}}\r\n535 5.7.8 {{secret}}\r\n"
    )
    assert talk.client("AUTH LOGIN\r\n") == b"AUTH LOGIN\r\n"
    meaning = FINDINGS["unknown-verb"]
    assert talk.finding("unknown-verb", f"{meaning}: GUESS") == f"{meaning}{{{{secret}}}}"
    end = talk.record(End(n=1, session="s", t=1.0, outcome="empty", reason="quit"))
    assert isinstance(end, End)
    assert end.reason == "quit"


def test_a_reply_full_of_echoes_is_bounded() -> None:
    talk = signed_in_with("c2Vj")
    raw = talk.server("500 " + "c2Vj." * 13_000 + "\r\n")
    assert raw == b"500 {{secret}}.\r\n"


def test_keep_secrets_keeps_everything_and_tells_of_nothing() -> None:
    talk = Talk(Redactor(keep_secrets=True))
    assert talk.client(f"AUTH PLAIN <<password:{PLAIN}>>\r\n") == f"AUTH PLAIN {PLAIN}\r\n".encode()
    assert talk.server(f"334 <<proof:{PLAIN}>>\r\n") == f"334 {PLAIN}\r\n".encode()
    assert talk.sasl(PLAIN + "\r\n", mechanism="X") == f"{PLAIN}\r\n".encode()
    assert talk.opaque("client", f"AUTH PLAIN <<sasl:{PLAIN}>>\r\n") == f"AUTH PLAIN {PLAIN}\r\n".encode()
    assert b"redacted" not in talk.lines
    assert b"{{" not in talk.lines


def test_a_session_without_secrets_passes_as_it_is() -> None:
    redactor = Redactor()
    for event in samples():
        if getattr(event, "redacted", UNSET) is UNSET:
            assert redactor.redact(event) is event


def test_what_the_proxy_asks_by_itself_is_not_the_clients_line() -> None:
    talk = Talk()
    talk.client("AUTH GSSAPI <<sasl:YII>>", partial=True)
    own = Command(n=1, session="s", t=1.0, from_="proxy", to="server", raw="EHLO app\r\n", verb="EHLO")
    assert talk.record(own) is own
    assert talk.client("abcdefgh\r\n") == b"{{secret}}\r\n"


# -- octets that are not read as SMTP


def test_opaque_auth_keeps_its_mechanism() -> None:
    talk = Talk()
    assert talk.opaque("client", f"NOOP\r\nauth plain {PLAIN}\r\nNOOP\r\n") == (
        b"NOOP\r\nauth plain {{secret}}\r\nNOOP\r\n"
    )
    assert talk.opaque("server", f"535 {PLAIN.upper()}\r\n") == b"535 {{secret}}\r\n"


def test_opaque_auth_with_a_word_that_is_no_mechanism() -> None:
    talk = Talk()
    assert talk.opaque("client", "AUTH \t" + PLAIN + "\r\n") == b"AUTH \t{{secret}}\r\n"
    assert talk.opaque("client", "AUTH\x0bPLAIN x1y2z3\r\n") == b"AUTH\x0bPLAIN {{secret}}\r\n"


def test_opaque_login_said_in_one_go() -> None:
    talk = Talk()
    raw = talk.opaque(
        "client", f"AUTH LOGIN\r\n{b64('alice')}\r\n{b64(PASSWORD)}\r\nMAIL FROM:<a@x>\r\nHi\r\n"
    )
    assert raw == b"AUTH LOGIN\r\n{{secret}}\r\n{{secret}}\r\nMAIL FROM:<a@x>\r\nHi\r\n"


def test_the_line_after_a_334_is_secret_even_if_it_reads_as_a_command() -> None:
    talk = Talk()
    talk.client("XAUTH\r\n")
    talk.server("334 \r\n")  # to a command that is not AUTH: the thread is lost here
    assert talk.opaque("client", "NOOP x\r\nHELP\r\n") == b"{{secret}}\r\nHELP\r\n"
    talk.opaque("server", "250 ok\r\n3")
    talk.opaque("server", "34 go on\r\n")
    assert talk.opaque("client", "*\r\n") == b"*\r\n"
    assert talk.opaque("client", "hello\r\n") == b"hello\r\n"


def test_opaque_success_ends_the_suspicion() -> None:
    talk = Talk()
    talk.opaque("client", f"AUTH PLAIN {PLAIN}\r\n")
    talk.opaque("server", "235 2.7.0 ok\r\n")
    assert talk.opaque("client", "Dear Bob,\r\n") == b"Dear Bob,\r\n"


def test_an_over_long_line_goes_on_in_opaque_octets() -> None:
    talk = Talk()
    talk.client(f"AUTH PLAIN <<password:{PLAIN[:9]}>>", partial=True)
    assert talk.opaque("client", PLAIN[9:] + "\r\nNOOP\r\n") == b"{{secret}}\r\nNOOP\r\n"
    assert talk.opaque("server", f"500 {PASSWORD}\r\n") == b"500 {{secret}}\r\n"


def test_blanks_without_end_hide_nothing_and_are_not_collected() -> None:
    talk = Talk()
    for _ in range(4):
        talk.opaque("client", "AUTH" + " " * 400)
        assert talk.opaque("client", " " * 400) == b"{{secret}}"
        assert talk.opaque("client", "hunter2hunter2\r\n") == b"{{secret}}\r\n"


@pytest.mark.parametrize("answer", ["501 5.5.4 what?\r\n", "*\r\n"])
def test_a_334_that_is_done_with_makes_nothing_secret(answer: str) -> None:
    talk = Talk()
    talk.client("XAUTH\r\n")
    talk.server("334 \r\n")
    if answer[0] == "*":
        talk.client(answer)
    else:
        talk.server(answer)
    assert talk.opaque("client", "hello\r\n") == b"hello\r\n"


def test_binary_opaque_octets_pass() -> None:
    talk = signed_in_with(reply="235 2.7.0 ok\r\n")
    data = bytes(range(256)) * 16
    assert talk.opaque("client", data) == data
    assert talk.opaque("server", data) == data


# -- bodies

MAIL = ("Subject: hi\r\nTo: bob\r\n", "\r\nThe body\r\n", "and more\r\n")


def test_digest_keeps_size_and_digest_and_the_terminator() -> None:
    talk = Talk(Redactor(bodies="digest"))
    assert [talk.content(piece) for piece in MAIL] == [b"", b"", b""]
    assert talk.content(".\r\n", end=True) == b".\r\n"
    first = talk.events[0]
    assert isinstance(first, Content)
    assert (first.octets, first.sha256) == (22, sha256(MAIL[0].encode()).hexdigest())
    assert b"Subject" not in talk.lines


def test_headers_keeps_what_stands_before_the_first_empty_line_of_each_message() -> None:
    talk = Talk(Redactor(bodies="headers"))
    for message in (1, 2):
        assert [talk.content(piece, message=message) for piece in MAIL] == [MAIL[0].encode(), b"\r\n", b""]
        assert talk.content(".\r\n", message=message, end=True) == b".\r\n"
    border = talk.events[1]
    assert isinstance(border, Content)
    assert border.octets == len(MAIL[1])


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_headers_end_at_an_empty_line_wherever_the_pieces_are_cut(end: str) -> None:
    mail = f"A: b{end}C: d{end}{end}body{end}{end}body{end}"
    header = f"A: b{end}C: d{end}{end}".encode()
    for cut in range(len(mail)):
        talk = Talk(Redactor(bodies="headers"))
        assert talk.content(mail[:cut]) + talk.content(mail[cut:]) == header


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_message_may_have_no_headers(end: str) -> None:
    for cut in range(1, len(end) + 3):
        talk = Talk(Redactor(bodies="headers"))
        mail = f"{end}body{end}{end}"
        assert talk.content(mail[:cut]) + talk.content(mail[cut:]) == end.encode()


@pytest.mark.parametrize("keep_secrets", [True, False])
def test_opaque_octets_may_hold_a_body(keep_secrets: bool) -> None:
    talk = Talk(Redactor(bodies="headers", keep_secrets=keep_secrets))
    assert talk.opaque("client", f"AUTH PLAIN <<sasl:{PLAIN}>>\r\n") == b""
    event = talk.events[0]
    assert isinstance(event, Opaque)
    assert event.octets == len(PLAIN) + 13
    assert event.redacted is UNSET
    # A digest over a short secret could be tried out.
    assert (event.sha256 == sha256(f"AUTH PLAIN {PLAIN}\r\n".encode()).hexdigest()) is keep_secrets
