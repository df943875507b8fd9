"""What stands in the way of a replay is found before anything is connected, by file, step and event."""

import msgspec
import pytest

from smtpproxy.errors import ReplayError
from smtpproxy.replay.clearance import Clearance
from smtpproxy.replay.credentials import CredentialBook, Credentials
from smtpproxy.replay.preview import preview
from smtpproxy.session.events import Redacted
from tests.conversation import Conversation, delivery
from tests.replay.playing import plan_for, script_of


def auth(mechanism: str, final: str = "235 in", *, identity: str = "alice") -> Conversation:
    talk = Conversation().server("220 mx")
    talk.client(f"AUTH {mechanism} {{{{secret}}}}", mechanism=mechanism, identity=identity)
    return redacted(talk).server(final).end("empty")


def redacted(talk: Conversation) -> Conversation:
    """The event that came last holds a placeholder."""
    event = talk.events[-1]
    at = event.raw.index("{{secret}}")  # type: ignore[union-attr]
    talk.events[-1] = msgspec.structs.replace(event, redacted=[Redacted(at=at, kind="token", length=32)])
    return talk


def clearance(*talks: Conversation, book: CredentialBook | None = None) -> Clearance:
    found = Clearance(plan_for(credentials=book or CredentialBook()))
    for talk in talks:
        found.look_at(script_of(talk))
    return found


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (Conversation().server("220 mx").client("DATA").server("354").digested(99), "digest only"),
        (Conversation().server("220 mx").opaque(b"\x00\x01"), "not read as SMTP"),
        (Conversation().server("220 mx").gap().client("NOOP"), "3 events are missing"),
        (
            redacted(Conversation().server("220 mx").client("BURL imap://x{{secret}} LAST")),
            "its token was kept out",
        ),
        (auth("NTLM"), "AUTH NTLM cannot be recomputed; PLAIN, LOGIN, CRAM-MD5"),
        (auth("GSSAPI"), "AUTH GSSAPI cannot be recomputed"),
    ],
)
def test_what_cannot_be_said_again(talk: Conversation, text: str) -> None:
    with pytest.raises(ReplayError) as refused:
        clearance(talk).require_playable()
    assert text in str(refused.value)
    assert "mail.smtp.jsonl:1: step " in str(refused.value)


def test_many_obstacles_are_told_by_the_first_of_them() -> None:
    with pytest.raises(ReplayError, match=r"and 7 more$"):
        clearance(*[auth("NTLM")] * 12).require_playable()


@pytest.mark.parametrize(
    ("mechanism", "lack"),
    [
        ("PLAIN", "SMTPPROXY_PASSWORD"),
        ("SCRAM-SHA-256", "SMTPPROXY_PASSWORD"),
        ("OAUTHBEARER", "SMTPPROXY_TOKEN"),
    ],
)
def test_a_login_needs_its_secret(mechanism: str, lack: str) -> None:
    with pytest.raises(
        ReplayError, match=rf"step 2 \(AUTH {mechanism} as alice\) needs a .*: set {lack}, or"
    ):
        clearance(auth(mechanism)).require_logins()


def test_the_right_secret_is_enough() -> None:
    book = CredentialBook(Credentials(password="pw"))
    clearance(auth("PLAIN"), auth("CRAM-MD5", identity="bob"), book=book).require_logins()
    with pytest.raises(ReplayError, match="SMTPPROXY_TOKEN"):
        clearance(auth("XOAUTH2"), book=book).require_logins()
    with pytest.raises(ReplayError, match="set SMTPPROXY_PASSWORD and SMTPPROXY_USERNAME"):
        clearance(auth("PLAIN", identity=""), book=book).require_logins()


def test_a_login_that_was_refused_needs_none() -> None:
    clearance(auth("PLAIN", "535 no"), auth("XOAUTH2", "454 later")).require_logins()


def test_what_was_typed_in_counts() -> None:
    found = clearance(auth("PLAIN"), auth("PLAIN"), auth("XOAUTH2"), book=(book := CredentialBook()))
    assert [login.kind for _, login in found.missing_logins()] == ["password", "token"]
    for _, login in found.missing_logins():
        book.add(login, f"my {login.kind}")
    found.require_logins()


def test_a_preview_shows_what_would_be_said_and_what_is_in_the_way() -> None:
    shown = list(preview(script_of(auth("PLAIN")), plan_for()))
    assert [text for text, _ in shown][1:3] == ["     1   connect", "     2   AUTH PLAIN {{secret}}"]
    (fault,) = [text for text, is_fault in shown if is_fault]
    assert "needs a password" in fault
    message = [text for text, _ in preview(script_of(delivery()), plan_for())]
    assert message[0].startswith("mail.smtp.jsonl:1 · session 01K")
    assert message[-2] == "     7   message of 70 octets"
