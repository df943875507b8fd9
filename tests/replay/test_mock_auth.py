"""AUTH at a mock: the recorded outcome for whoever comes, or only for who knows the password."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Generator

import msgspec
import pytest

from smtpproxy.errors import ReplayError
from smtpproxy.replay.credentials import CredentialBook, Credentials
from smtpproxy.replay.mock import Mock
from smtpproxy.session.events import Redacted
from tests.conversation import Conversation
from tests.replay.app import App, client_script, only

PASSWORD = "tr0ub4dor&3"
TOKEN = "ya29.token"
BOOK = CredentialBook(Credentials(username="alice", password=PASSWORD, token=TOKEN))
CHALLENGE = "<1896.697170952@mx.example.com>"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def login(
    mechanism: str, *exchange: str, outcome: str = "235 2.7.0 in", has_initial: bool = False
) -> Conversation:
    """A session that logs in: `exchange` are the challenges; the last answer gets the outcome."""
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", f"250 AUTH {mechanism}")
    initial = " {{secret}}" if has_initial else ""
    talk.client(f"AUTH {mechanism}{initial}", mechanism=mechanism, identity="alice")
    if has_initial:
        talk.events[-1].redacted = [Redacted(at=6 + len(mechanism), kind="password", length=9)]  # type: ignore[union-attr]
    for number, challenge in enumerate(exchange, 1):
        talk.server(f"334 {challenge}").sasl("{{secret}}", mechanism=mechanism, step=number)
    return talk.server(outcome).client("QUIT").server("221 bye").end("empty")


def mock_of(talk: Conversation, *, is_checked: bool = True, book: CredentialBook | None = BOOK) -> Mock:
    return Mock([client_script(talk)], credentials=book, checks_credentials=is_checked)


def at_auth(mock: Mock) -> App:
    app = App(mock)
    assert app.greeting == "220 mx"
    app.say("EHLO x")
    return app


def goodbye(app: App) -> None:
    app.say("QUIT")
    app.leave()
    app.finish()


# ---- anybody may in


def test_any_credentials_get_what_was_recorded() -> None:
    mock = mock_of(login("PLAIN", has_initial=True), is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say(*plain("who", "ever")) == "235 2.7.0 in"
    goodbye(app)
    assert only(mock).status == "same"


def test_a_recorded_refusal_is_given_too() -> None:
    mock = mock_of(login("PLAIN", outcome="535 5.7.8 no", has_initial=True), is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say(*plain("who", "ever")) == "535 5.7.8 no"
    goodbye(app)
    assert only(mock).status == "same"


def test_the_first_response_may_come_one_line_later() -> None:
    mock = mock_of(login("PLAIN", has_initial=True), is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say("AUTH PLAIN") == "334 "
    assert app.say(b64("\0a\0b")) == "235 2.7.0 in"
    goodbye(app)
    assert only(mock).status == "same"


def test_the_first_response_may_come_one_line_earlier() -> None:
    mock = mock_of(login("LOGIN", b64("Username:"), b64("Password:")), is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say(f"AUTH LOGIN {b64('alice')}") == f"334 {b64('Password:')}"
    assert app.say(b64("anything")) == "235 2.7.0 in"
    goodbye(app)
    assert only(mock).status == "same"


def test_another_mechanism_does_not_match() -> None:
    mock = mock_of(login("PLAIN", has_initial=True), is_checked=False, book=None)
    app = at_auth(mock)
    assert (
        app.say(f"AUTH LOGIN {b64('alice')}")
        == "504 5.5.4 smtpproxy mock: step 3 expects AUTH PLAIN {{secret}}"
    )
    goodbye(app)
    assert only(mock).differences[0].fields == (("mechanism", "PLAIN", "LOGIN"),)


def test_an_exchange_that_is_cancelled() -> None:
    mock = mock_of(login("LOGIN", b64("Username:"), b64("Password:")), is_checked=False, book=None)
    app = at_auth(mock)
    app.say("AUTH LOGIN")
    assert app.say("*").startswith("501 5.7.0 ")
    assert app.say("AUTH LOGIN") == f"334 {b64('Username:')}"
    goodbye(app)
    assert only(mock).differences[0].text == "the app cancelled its AUTH"


def test_the_error_of_an_expired_token_is_answered_by_an_empty_line() -> None:
    error = b64('{"status":"401"}')
    talk = login("XOAUTH2", error, outcome="535 5.7.8 expired", has_initial=True)
    mock = mock_of(talk, is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say(f"AUTH XOAUTH2 {b64('anything')}") == f"334 {error}"
    assert app.say("") == "535 5.7.8 expired"
    goodbye(app)
    assert only(mock).status == "same"


def test_an_app_that_goes_on_where_the_recorded_one_left() -> None:
    talk = Conversation().server("220 mx").client("EHLO app").server("250 AUTH LOGIN")
    talk.client("AUTH LOGIN", mechanism="LOGIN").server("334 VXNlcm5hbWU6").end("empty", "client-eof")
    mock = mock_of(talk, is_checked=False, book=None)
    app = at_auth(mock)
    assert app.say(f"AUTH LOGIN {b64('alice')}") == "504 5.5.4 smtpproxy mock: this is the end of the session"
    goodbye(app)
    assert [difference.what for difference in only(mock).differences] == ["unmatched"]


# ---- only who knows the password


def plain(user: str, password: str) -> list[str]:
    return [f"AUTH PLAIN {b64(f'{chr(0)}{user}{chr(0)}{password}')}"]


def two_lines(user: str, password: str) -> list[str]:
    return ["AUTH LOGIN", b64(user), b64(password)]


def cram(user: str, password: str) -> list[str]:
    digest = hmac.new(password.encode(), CHALLENGE.encode(), hashlib.md5).hexdigest()
    return ["AUTH CRAM-MD5", b64(f"{user} {digest}")]


def xoauth2(user: str, token: str) -> list[str]:
    return [f"AUTH XOAUTH2 {b64(f'user={user}{chr(1)}auth=Bearer {token}{chr(1)}{chr(1)}')}"]


def oauthbearer(user: str, token: str) -> list[str]:
    text = f"n,a={user},{chr(1)}host=mx{chr(1)}port=25{chr(1)}auth=Bearer {token}{chr(1)}{chr(1)}"
    return [f"AUTH OAUTHBEARER {b64(text)}"]


Lines = Callable[[str, str], list[str]]
MECHANISMS: list[tuple[Lines, Conversation, str]] = [
    (plain, login("PLAIN", has_initial=True), PASSWORD),
    (two_lines, login("LOGIN", b64("Username:"), b64("Password:")), PASSWORD),
    (cram, login("CRAM-MD5", b64(CHALLENGE)), PASSWORD),
    (xoauth2, login("XOAUTH2", has_initial=True), TOKEN),
    (oauthbearer, login("OAUTHBEARER", has_initial=True), TOKEN),
]


@pytest.mark.parametrize(
    ("lines", "talk", "secret"), MECHANISMS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_right_credentials(lines: Lines, talk: Conversation, secret: str) -> None:
    mock = mock_of(talk)
    app = at_auth(mock)
    replies = [app.say(line) for line in lines("alice", secret)]
    assert replies[-1] == "235 2.7.0 in"
    goodbye(app)
    assert only(mock).differences == ()


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("bob", "")])
@pytest.mark.parametrize(
    ("lines", "talk", "secret"), MECHANISMS, ids=lambda value: getattr(value, "__name__", "")
)
def test_wrong_credentials(lines: Lines, talk: Conversation, secret: str, user: str, password: str) -> None:
    mock = mock_of(talk)
    app = at_auth(mock)
    replies = [app.say(line) for line in lines(user, password or secret)]
    assert replies[-1].startswith("535 5.7.8 smtpproxy mock: the app logs in ")
    goodbye(app)
    difference = only(mock).differences[0]
    assert (difference.what, difference.fields[0][0]) == ("unmatched", "credentials")
    told = msgspec.json.encode(list(mock.results())).decode() + bytes(app.client.heard).decode()
    assert PASSWORD not in told
    assert TOKEN not in told


# ---- SCRAM: the mock has to know the password as well


def scram_client(user: str, password: str, algorithm: str) -> Generator[str, str, None]:
    """RFC 5802 3: yields what to say, is sent what was heard; fails where the server cannot prove itself."""
    bare = f"n={user},r=fyko+d2lbbFgONRv9qkxdawL"
    heard = yield f"AUTH SCRAM-SHA-{algorithm.removeprefix('sha')} {b64('n,,' + bare)}"
    first = base64.b64decode(heard[4:]).decode()
    nonce, salt, rounds = (field[2:] for field in first.split(","))
    assert nonce.startswith("fyko+d2lbbFgONRv9qkxdawL")
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), base64.b64decode(salt), int(rounds))
    final = f"c={b64('n,,')},r={nonce}"
    signed = f"{bare},{first},{final}".encode()
    key = hmac.digest(salted, b"Client Key", algorithm)
    signature = hmac.digest(hashlib.new(algorithm, key).digest(), signed, algorithm)
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    heard = yield b64(f"{final},p={b64(proof)}")
    if heard.startswith("334 "):
        server = hmac.digest(hmac.digest(salted, b"Server Key", algorithm), signed, algorithm)
        assert base64.b64decode(heard[4:]) == b"v=" + base64.b64encode(server)
        yield ""


def say_scram(app: App, user: str, password: str, *, algorithm: str = "sha256") -> str:
    client = scram_client(user, password, algorithm)
    line: str | None = next(client)
    heard = ""
    while line is not None:
        heard = app.say(line)
        try:
            line = client.send(heard)
        except StopIteration:
            line = None
    return heard


SCRAM_FIRST = b64("r=recorded,s=c2FsdA==,i=4096")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_scram_with_the_password(algorithm: str) -> None:
    mechanism = f"SCRAM-SHA-{algorithm.removeprefix('sha')}"
    mock = mock_of(login(mechanism, SCRAM_FIRST, "{{secret}}", has_initial=True), is_checked=False)
    app = at_auth(mock)
    assert say_scram(app, "alice", PASSWORD, algorithm=algorithm) == "235 2.7.0 in"
    goodbye(app)
    assert only(mock).differences == ()


def test_scram_with_another_password() -> None:
    mock = mock_of(login("SCRAM-SHA-256", SCRAM_FIRST, "{{secret}}", has_initial=True), is_checked=False)
    app = at_auth(mock)
    assert say_scram(app, "alice", "wrong").startswith("535 5.7.8 ")
    goodbye(app)
    assert only(mock).differences[0].fields[0][0] == "credentials"


def test_scram_that_was_refused_needs_no_password() -> None:
    talk = login("SCRAM-SHA-256", SCRAM_FIRST, outcome="535 5.7.8 no", has_initial=True)
    mock = mock_of(talk, is_checked=False, book=None)
    app = at_auth(mock)
    assert say_scram(app, "alice", "whatever") == "535 5.7.8 no"
    goodbye(app)
    assert only(mock).status == "same"


# ---- refused at the start


def test_scram_without_a_password_is_refused() -> None:
    talk = login("SCRAM-SHA-256", SCRAM_FIRST, "{{secret}}", has_initial=True)
    with pytest.raises(ReplayError, match=r"session 01KA.*, step 3: in SCRAM-SHA-256 .* SMTPPROXY_PASSWORD"):
        mock_of(talk, is_checked=False, book=None)


def test_nothing_to_check_against_is_refused() -> None:
    with pytest.raises(ReplayError, match="step 3: --check-credentials has nothing to check them against"):
        mock_of(login("PLAIN", has_initial=True), book=CredentialBook())


def test_a_mechanism_that_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ReplayError, match="AUTH NTLM cannot be checked"):
        mock_of(login("NTLM", has_initial=True))
