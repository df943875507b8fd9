"""No octet of a credential survives redaction: any mechanism, any echo, any cut."""

from base64 import b64encode
from collections.abc import Callable

from hypothesis import assume, given
from hypothesis import strategies as st

from smtpproxy.recording.redaction import Redactor
from smtpproxy.session.events import UNSET, AnyEvent, Auth, Command, Opaque, Reply
from tests.recording.events import any_events
from tests.recording.talk import Talk

Flow = Callable[[Talk, str, str], list[bytes]]
"""Signs in with user and password; returns what was sent of it."""

users = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
# What a password manager makes, and what people do.
passwords = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4, max_size=60)
echoes: dict[str, Callable[[bytes], bytes]] = {
    "as sent": bytes,
    "upper": bytes.upper,
    "lower": bytes.lower,
    "unpadded": lambda blob: blob.rstrip(b"="),
    "twice": lambda blob: blob + b" " + blob,
    "in a word": lambda blob: b"x=" + blob + b";y",
}


def b64(text: str) -> bytes:
    return b64encode(text.encode())


def plain(talk: Talk, user: str, password: str) -> list[bytes]:
    blob = b64(f"\0{user}\0{password}")
    talk.client(b"AUTH PLAIN <<password:" + blob + b">>\r\n", identity=user)
    return [blob]


def plain_after_a_challenge(talk: Talk, user: str, password: str) -> list[bytes]:
    blob = b64(f"\0{user}\0{password}")
    talk.client("AUTH PLAIN\r\n")
    talk.server("334 \r\n")
    talk.sasl(blob + b"\r\n", mechanism="PLAIN", identity=user)
    return [blob]


def login(talk: Talk, user: str, password: str) -> list[bytes]:
    blobs = [b64(user), b64(password)]
    talk.client("AUTH LOGIN\r\n")
    talk.server("334 VXNlcm5hbWU6\r\n")
    talk.sasl(blobs[0] + b"\r\n", mechanism="LOGIN", identity=user)
    talk.server("334 UGFzc3dvcmQ6\r\n")
    talk.sasl(blobs[1] + b"\r\n", mechanism="LOGIN")
    return blobs


def login_refused(talk: Talk, user: str, password: str) -> list[bytes]:
    blobs = [b64(user), b64(password)]
    talk.client("AUTH LOGIN\r\n")
    talk.server("503 5.5.1 not now\r\n")
    for blob in blobs:
        talk.client(blob + b"\r\n")
        talk.server(b'500 what is "' + blob.upper() + b'"?\r\n')
    return blobs


def xoauth2(talk: Talk, user: str, password: str) -> list[bytes]:
    blob = b64(f"user={user}\x01auth=Bearer {password}\x01\x01")
    talk.client(b"AUTH XOAUTH2 <<token:" + blob + b">>\r\n", identity=user)
    talk.server("334 eyJzdGF0dXMiOiI0MDAifQ==\r\n")
    talk.sasl("\r\n", mechanism="XOAUTH2")
    return [blob]


def cram(talk: Talk, user: str, password: str) -> list[bytes]:
    blob = b64(f"{user} {password.encode().hex()[:32]:0<32}")
    talk.client("AUTH CRAM-MD5\r\n")
    talk.server("334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+\r\n")
    talk.sasl(blob + b"\r\n", mechanism="CRAM-MD5", identity=user)
    return [blob]


def opaque(talk: Talk, user: str, password: str) -> list[bytes]:
    blobs = [b64(user), b64(password)]
    talk.opaque("client", b"AUTH LOGIN\r\n" + blobs[0] + b"\r\n")
    talk.opaque("server", b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n")
    talk.opaque("client", blobs[1] + b"\r\nQUIT\r\n")
    return blobs


flows: st.SearchStrategy[Flow] = st.sampled_from(
    [plain, plain_after_a_challenge, login, login_refused, xoauth2, cram, opaque]
)


def forms_in(talk: Talk, blobs: list[bytes], password: str) -> list[bytes]:
    """What of the secrets stands in what would be written, in whatever case."""
    forms = [blob.rstrip(b"=").lower() for blob in blobs if len(blob.rstrip(b"=")) >= 4]
    if len(password.encode()) >= 8:
        forms.append(password.encode().lower())
    said = talk.octets.lower()
    # The lines too: a field may repeat a word of the conversation.
    return [form for form in forms if form in said or form in talk.lines.lower()]


def is_telling(user: str, password: str) -> bool:
    """Whether the password is more than what the transcript has anyway."""
    shown = Talk()
    for flow in (plain, login, login_refused, xoauth2, opaque):
        flow(shown, user, "")
    for line in ("500 what is ?", "NOOP", "RSET", "HELP", "XDEBUG x= ;y", user):
        shown.client(line)
    return password.lower() not in shown.lines.decode().lower()


@given(flows, users, passwords, st.sampled_from(list(echoes.values())))
def test_no_credential_survives_its_echoes(
    flow: Flow, user: str, password: str, echo: Callable[[bytes], bytes]
) -> None:
    assume(is_telling(user, password))
    talk = Talk()
    blobs = flow(talk, user, password)
    for blob in blobs:
        talk.server(b"500 what is " + echo(blob) + b"?\r\n")
        talk.client(b"XDEBUG " + echo(blob) + b"\r\n")
        talk.client(echo(blob) + b"\r\n")
        talk.finding("unknown-verb", "the client sent what is no command: " + echo(blob).decode("latin-1"))
        talk.opaque("client", echo(blob) + b"\r\n")
        talk.opaque("server", b"500 " + echo(blob) + b"\r\n")
    if len(password.encode()) >= 8 and flow is not cram:
        talk.server(f"500 what is {password}?\r\n")
        talk.client(f"XDEBUG {password}\r\n")
        talk.opaque("server", f"500 {password}\r\n")
    assert forms_in(talk, blobs, password) == []


def cut(data: st.DataObject, octets: bytes) -> list[bytes]:
    """The octets in pieces."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(octets) - 1)), max_size=6)))
    return [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


def has_window(said: bytes, blob: bytes, *, size: int) -> bool:
    """Whether any `size` octets in a row of a blob were said."""
    text = blob.rstrip(b"=")
    return any(text[at : at + size] in said for at in range(len(text) - size + 1))


@given(st.data(), users, passwords)
def test_an_over_long_auth_line_cut_anywhere(data: st.DataObject, user: str, password: str) -> None:
    blob = b64(f"\0{user}\0{password}")
    talk = Talk()
    pieces = cut(data, blob + b"\r\n")
    talk.client(b"AUTH PLAIN <<password:" + pieces[0].rstrip() + b">>", partial=True)
    for piece in pieces[1:-1]:
        talk.client(piece, partial=True)
    talk.client(pieces[-1] if pieces[1:] else b"\r\n")
    assert not has_window(talk.octets, blob, size=4)
    talk.server(b"535 " + blob + b"\r\n")
    assert not has_window(talk.octets, blob, size=8)


@given(st.data(), users, passwords.filter(lambda password: len(password.encode()) >= 8))
def test_an_echo_cut_anywhere(data: st.DataObject, user: str, password: str) -> None:
    talk = Talk()
    blob = plain(talk, user, password)[0]
    secret = data.draw(st.sampled_from([blob, password.encode(), b64(password)]))
    assume(not any(has_window(known, secret, size=4) for known in (b"500 what is", user.encode(), b"xdebug")))
    for say in (talk.server, talk.client):
        talk.events.clear()
        *pieces, last = cut(data, (b"500 what is " if say == talk.server else b"XDEBUG ") + secret + b"?\r\n")
        for piece in pieces:
            say(piece, partial=True)
        say(last)
        said = talk.octets
        assert secret not in said
        # Fewer octets than a form's least length may be out before they are known to begin one.
        assert not has_window(said, secret, size=4)


@given(st.data(), users, passwords)
def test_unread_octets_cut_anywhere(data: st.DataObject, user: str, password: str) -> None:
    assume(is_telling(user, password))
    blobs = [b64(user), b64(password)]
    says: list[tuple[str, bytes]] = data.draw(
        st.sampled_from(
            [
                [("client", b"NOOP\r\nAUTH LOGIN\r\n%s\r\n%s\r\nQUIT\r\n" % (blobs[0], blobs[1]))],
                [
                    ("client", b"AUTH LOGIN\r\n"),
                    ("server", b"334 VXNlcm5hbWU6\r\n"),
                    ("client", blobs[0] + b"\r\n"),
                    ("server", b"334 UGFzc3dvcmQ6\r\n"),
                    ("client", blobs[1] + b"\r\n"),
                ],
                [("client", b"auth  login %s\r\n%s\r\nNOOP\r\n" % (blobs[0], blobs[1]))],
                [("server", b"250 ok\r\n334 \r\n"), ("client", blobs[1] + b"\r\nNOOP\r\n")],
                [("client", b"AUTH \t%s\r\n" % blobs[1])],
            ]
        )
    )
    talk = Talk()
    for speaker, octets in says:
        for piece in cut(data, octets):
            talk.opaque(speaker, piece)  # type: ignore[arg-type]
    assert not any(has_window(talk.octets, blob, size=4) for blob in (blobs[1], blobs[0]) if len(blob) >= 8)


@given(st.lists(any_events, max_size=12))
def test_any_events_pass_and_what_has_no_secret_is_not_touched(events: list[AnyEvent]) -> None:
    redactor = Redactor()
    is_innocent = True
    for event in events:
        if isinstance(event, Auth | Opaque) or getattr(event, "verb", "") == "AUTH":
            is_innocent = False
        if getattr(event, "redacted", UNSET) is not UNSET:
            is_innocent = False
        recorded = redactor.redact(event)
        assert type(recorded) is type(event)
        assert (recorded.n, recorded.t, recorded.session) == (event.n, event.t, event.session)
        assert recorded is event or not is_innocent


@given(st.lists(any_events, max_size=12))
def test_secrets_that_are_kept_are_kept_whole(events: list[AnyEvent]) -> None:
    redactor = Redactor(keep_secrets=True)
    for event in events:
        recorded = redactor.redact(event)
        assert (getattr(recorded, "raw", None), getattr(recorded, "raw_b64", None)) == (
            getattr(event, "raw", None),
            getattr(event, "raw_b64", None),
        )
        if isinstance(recorded, Command | Auth | Reply | Opaque):
            assert recorded.redacted is UNSET
