"""Logins in a replay: secrets made anew, in as many rounds as the live server wants, and never shown."""

import base64
import hmac

import msgspec
import pytest

from smtpproxy.errors import ReplayError
from smtpproxy.recording.redaction import Redactor
from smtpproxy.replay.credentials import MADE_UP, CredentialBook, Credentials
from smtpproxy.replay.plan import Plan
from smtpproxy.session.events import Redacted
from tests.conversation import Conversation
from tests.replay.playing import Played, plan_for
from tests.replay.test_authentication import SCRAM, b64

HELLO = ["220 mx", "250-mx\n250 AUTH PLAIN"]
PLAIN = base64.b64encode(b"\0user\0pencil").decode()
WRONG = base64.b64encode(f"\0user\0{MADE_UP}".encode()).decode()
BOOK = CredentialBook(Credentials(username="", password="pencil", token="a-token"))


def login(mechanism: str, *exchange: str, keeps: bool = False) -> Conversation:
    """AUTH, then in turn what the server answers and what the client says; secrets are cut out."""
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 AUTH PLAIN")
    command, *rest = exchange
    talk.client(f"AUTH {mechanism}{command and ' '}{command}", mechanism=mechanism, identity="user")
    _mark(talk, command)
    for number, line in enumerate(rest):
        if number % 2 == 0:
            talk.server(line)
        else:
            talk.sasl(line, mechanism=mechanism, step=number // 2 + 1)
            _mark(talk, line)
    talk.client("QUIT").server("221 bye").end("empty")
    redactor = Redactor(keep_secrets=keeps)
    talk.events = [redactor.redact(event) for event in talk.events]
    return talk


def _mark(talk: Conversation, secret: str) -> None:
    """As the core marks a SASL line: all of it but `*`, `=` and nothing."""
    if secret not in ("", "*", "="):
        event = talk.events[-1]
        at = event.raw.index(secret)  # type: ignore[union-attr]
        span = Redacted(at=at, kind="password", length=len(secret))
        talk.events[-1] = msgspec.structs.replace(event, redacted=[span])


def with_book(book: CredentialBook = BOOK, to: str = "smtp://127.0.0.1:2525") -> Plan:
    return plan_for(to, credentials=book)


def test_plain_with_an_initial_response() -> None:
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in")
    assert "{{secret}}" in str(talk.events)
    played = Played(talk, [*HELLO, "235 welcome", "221 bye"], plan=with_book())
    assert played.lines[1] == f"AUTH PLAIN {PLAIN}"
    assert played.result.status == "same"


def test_plain_without_one() -> None:
    talk = login("PLAIN", "", "334 ", "AHVzZXIAc2VjcmV0", "235 in")
    played = Played(talk, [*HELLO, "334 ", "235 in", "221 bye"], plan=with_book())
    assert played.lines[1:3] == ["AUTH PLAIN", PLAIN]
    assert played.result.status == "same"


def test_login_in_two_rounds() -> None:
    talk = login("LOGIN", "", "334 VXNlcm5hbWU6", "dXNlcg==", "334 UGFzc3dvcmQ6", "c2VjcmV0", "235 in")
    played = Played(talk, [*HELLO, "334 VXNlcg==", "334 UGFzcw==", "235 in", "221 bye"], plan=with_book())
    assert played.lines[1:4] == ["AUTH LOGIN", "dXNlcg==", b64("pencil").decode()]
    assert played.result.status == "same"


def test_scram_is_answered_to_the_live_challenge_and_the_server_is_checked() -> None:
    talk = login("SCRAM-SHA-1", "biwsbj11c2Vy", "334 cj14", "Yz1iaXdz", "334 dj14", "", "235 in")
    nonce, server_first, final, signature = SCRAM["SCRAM-SHA-1"]
    answers = [
        *HELLO,
        f"334 {b64(server_first).decode()}",
        f"334 {b64(signature).decode()}",
        "235 in",
        "221 bye",
    ]
    played = Played(talk, answers, plan=with_book())
    assert played.lines[1:4] == [
        f"AUTH SCRAM-SHA-1 {b64(f'n,,n=user,r={nonce}').decode()}",
        b64(final).decode(),
        "",
    ]
    assert played.result.status == "same"


def test_a_wrong_scram_signature_cancels_the_login() -> None:
    talk = login("SCRAM-SHA-1", "biwsbj11c2Vy", "334 cj14", "Yz1iaXdz", "334 dj14", "", "235 in")
    server_first = SCRAM["SCRAM-SHA-1"][1]
    answers = [*HELLO, f"334 {b64(server_first).decode()}", "334 dj1BQUFB", "501 cancelled", "221 bye"]
    played = Played(talk, answers, plan=with_book())
    assert played.lines[-2:] == ["*", "QUIT"]
    assert any("does not know the password" in text for _, _, text in played.differences)


def test_a_scram_server_that_skips_its_proof_is_a_difference() -> None:
    talk = login("SCRAM-SHA-1", "biwsbj11c2Vy", "334 cj14", "Yz1iaXdz", "334 dj14", "", "235 in")
    answers = [*HELLO, f"334 {b64(SCRAM['SCRAM-SHA-1'][1]).decode()}", "235 in", "221 bye"]
    played = Played(talk, answers, plan=with_book())
    assert [text for _, _, text in played.differences] == [
        "the server took the login, and never proved that it knows the password (SCRAM)"
    ]


def test_a_login_that_was_refused_is_refused_again_without_anybodys_secret() -> None:
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "535 no")
    played = Played(talk, [*HELLO, "535 no", "221 bye"], plan=with_book())
    assert played.lines[1] == f"AUTH PLAIN {WRONG}"
    assert played.result.status == "same"


def test_a_token_that_was_refused_is_refused_in_as_many_rounds() -> None:
    talk = login("XOAUTH2", "dXNlcj11c2Vy", "334 eyJz", "", "535 no")
    played = Played(talk, [*HELLO, "334 eyJz", "535 no", "221 bye"])
    assert played.lines[2:] == ["", "QUIT"]
    assert played.result.status == "same"


def test_a_login_that_was_cancelled_is_cancelled() -> None:
    talk = login("LOGIN", "", "334 VXNlcm5hbWU6", "*", "501 cancelled")
    played = Played(talk, [*HELLO, "334 VXNlcm5hbWU6", "501 cancelled", "221 bye"])
    assert played.lines[1:3] == ["AUTH LOGIN", "*"]
    assert played.result.status == "same"


def test_a_login_that_fails_where_it_went_well_leaves_only_quit() -> None:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 AUTH PLAIN")
    talk.client("AUTH PLAIN eA==", mechanism="PLAIN").server("235 in").client("MAIL FROM:<a@b>").server(
        "250 ok"
    )
    talk.client("QUIT").server("221 bye").end("empty")
    played = Played(talk, [*HELLO, "535 no", "221 bye"])
    assert played.lines[1:] == ["AUTH PLAIN eA==", "QUIT"]
    assert played.verdicts == ["same", "same", "differs", "not-played", "same"]


def test_more_rounds_than_recorded_are_a_note_and_fewer_too() -> None:
    talk = login("LOGIN", "dXNlcg==", "334 UGFzc3dvcmQ6", "c2VjcmV0", "235 in")
    played = Played(talk, [*HELLO, "235 in", "221 bye"], plan=with_book())
    assert played.result.status == "same"
    assert played.result.steps[3].verdict in ("same", "ignored")
    short = login("XOAUTH2", "dXNlcj11c2Vy", "535 no")
    longer = Played(short, [*HELLO, "334 eyJz", "535 no", "221 bye"])
    assert longer.result.status == "same"


def test_secrets_are_hidden_where_the_server_quotes_them() -> None:
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in")
    sent = PLAIN
    played = Played(talk, [*HELLO, f"535 pencil is wrong, and so is {sent}", "221 bye"], plan=with_book())
    shown = msgspec.json.encode(played.result).decode()
    assert "pencil" not in shown
    assert sent not in shown
    assert "{{secret}} is wrong" in shown


def test_proofs_are_hidden_where_the_server_quotes_them() -> None:
    """CRAM-MD5's digest and its challenge are all that guessing the password takes (RFC 2195 4)."""
    talk = login("CRAM-MD5", "", "334 PDFAbXg+", "dXNlciAwMTIzNDU2Nzg5", "235 in")
    digest = hmac.digest(b"pencil", b"<2@mx>", "md5").hex()
    quoting = f"535 user {digest} is wrong"
    challenge = f"334 {b64('<2@mx>').decode()}"
    played = Played(talk, [*HELLO, challenge, quoting, "221 bye"], plan=with_book())
    assert played.lines[2] == b64(f"user {digest}").decode()
    assert played.result.steps[3].actual == "535 user {{secret}} is wrong"


def test_kept_secrets_are_said_as_they_were_unless_others_are_given() -> None:
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in", keeps=True)
    assert Played(talk, [*HELLO, "235 in", "221 bye"]).lines[1] == "AUTH PLAIN AHVzZXIAc2VjcmV0"
    given = Played(talk, [*HELLO, "235 in", "221 bye"], plan=with_book())
    assert given.lines[1] == f"AUTH PLAIN {PLAIN}"


def test_kept_secrets_are_not_shown() -> None:
    talk = login("LOGIN", "dXNlcg==", "334 UGFzc3dvcmQ6", "c2VjcmV0", "235 in", keeps=True)
    played = Played(talk, [*HELLO, "334 UGFzc3dvcmQ6", "235 in", "221 bye"])
    assert played.lines[1:3] == ["AUTH LOGIN dXNlcg==", "c2VjcmV0"]
    assert [step.said for step in played.result.steps[2:4]] == ["AUTH LOGIN {{secret}}", "{{secret}}"]


def test_a_login_in_clear_off_this_machine_is_told() -> None:
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in")
    played = Played(talk, [*HELLO, "235 in", "221 bye"], plan=with_book(to="smtp://mx.example.com"))
    assert played.result.notes == ("step 3: the login went out in clear, as it was recorded",)


def test_a_placeholder_is_never_said() -> None:
    with pytest.raises(ReplayError, match="step 3 needs a password"):
        Played(login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in"), HELLO)
    lost = login("PLAIN", "{{secret}}", "535 no", keeps=True)
    played = Played(lost, [*HELLO, "535 no", "221 bye"])
    assert played.lines[1] == f"AUTH PLAIN {WRONG}"


def test_accounts_have_their_own_credentials() -> None:
    book = CredentialBook(
        Credentials(username="all", password="for-all"),
        accounts={"user": Credentials(username="real", password="for-user")},
    )
    talk = login("PLAIN", "AHVzZXIAc2VjcmV0", "235 in")
    played = Played(talk, [*HELLO, "235 in", "221 bye"], plan=with_book(book))
    assert base64.b64decode(played.lines[1].split()[2]) == b"\0real\0for-user"
