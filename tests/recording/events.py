"""Events of every kind, for the recording's laws: samples with all fields, and hypothesis strategies."""

import string

from hypothesis import strategies as st

from smtpproxy.recording.codec import MAX_COUNT
from smtpproxy.session.events import (
    UNSET,
    AnyEvent,
    Auth,
    Certificate,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Opaque,
    Preface,
    Redacted,
    Reply,
    SessionStarted,
    SpokenEvent,
    Tls,
    set_octets,
)

SESSION = "01K9ZT5Y0Q-a"
CERTIFICATE = Certificate(
    subject="CN=mx.example.com",
    issuer="CN=Example CA",
    names=["DNS:mx.example.com", "IP:192.0.2.1"],
    not_before="2026-01-01T00:00:00Z",
    not_after="2026-12-31T00:00:00Z",
    sha256="ab" * 32,
    pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
)


def started(*, session: str = SESSION, n: int = 0) -> SessionStarted:
    """The event that opens a session."""
    return SessionStarted(
        n=n,
        session=session,
        t=0.0,
        format=1,
        started="2026-11-23T17:00:00.123456Z",
        route="default",
        client="127.0.0.1:50312",
        upstream="smtp+starttls://smtp.example.com:587",
        proxy="smtpproxy 0.1.0",
        listen="smtp://127.0.0.1:1025",
    )


def ended(*, session: str = SESSION, n: int) -> End:
    """The event that closes a session."""
    return End(n=n, session=session, t=0.91, outcome="delivered", messages=1, reason="quit")


def samples() -> list[AnyEvent]:
    """One event or more of each kind, all fields set."""
    spoken = {"session": SESSION, "from_": "client", "to": "server"}
    return [
        started(),
        Preface(n=1, t=0.001, raw="PROXY TCP4 192.0.2.7 192.0.2.1 5000 25\r\n", version=1,
                source="192.0.2.7:5000", destination="192.0.2.1:25", **spoken),
        Reply(n=2, session=SESSION, t=0.004211, from_="server", to="client", raw="250 2.0.0 ok\r\n", code=250,
              enhanced="2.0.0", answers=1, partial=True),
        Command(n=3, t=0.01, raw="AUTH PLAIN {{secret}}\r\n", verb="AUTH", group=1, mechanism="PLAIN",
                identity="alice", redacted=[Redacted(at=11, kind="password", length=32)], **spoken),
        Command(n=4, t=0.02, raw_b64=b"NOOP \xff\r\n", verb="NOOP", group=2, **spoken),
        Command(n=5, t=0.02, raw="BDAT 9223372036854775807 LAST\r\n", verb="BDAT",
                size=2**63 - 1, last=True, **spoken),
        Auth(n=6, t=0.03, raw="{{secret}}\r\n", mechanism="LOGIN", step=2, identity="alice", partial=True,
             redacted=[Redacted(at=0, kind="password", length=12)], **spoken),
        Tls(n=7, session=SESSION, t=0.04, leg="server", version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384",
            alpn="smtp", sni="mx.example.com", verified=True, certificates=[CERTIFICATE], error="no",
            alert="unknown_ca", advice="smtpproxy trust"),
        Content(n=8, t=0.05, raw="Subject: hi\r\n", message=1, **spoken),
        Content(n=9, t=0.06, octets=65536, sha256="0" * 64, message=1, **spoken),
        Content(n=10, t=0.07, raw=".\r\n", message=1, end=True, **spoken),
        Opaque(n=11, t=0.08, octets=3, sha256="f" * 64, **spoken),
        Opaque(n=12, t=0.08, raw_b64=b"\0\0\0\xff", **spoken),
        Finding(n=13, session=SESSION, t=0.1, code="bare-lf", text="lines end in LF alone", about=8),
        Gap(n=14, session=SESSION, t=0.2, events=7, octets=100_000, reason="the disk is full"),
        ended(n=21),
    ]  # fmt: skip


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
counts = st.integers(0, MAX_COUNT)
sessions = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=64)
times = st.floats(0, 1e6).map(lambda t: round(t, 6))
parties = st.sampled_from(["client", "server", "proxy"])
octets = st.one_of(st.binary(max_size=60), texts.map(str.encode))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def _maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.just(UNSET), values)


@st.composite
def _spoken(draw: st.DrawFn, kind: type, **fields: st.SearchStrategy[object]) -> AnyEvent:
    event: SpokenEvent = kind(
        n=draw(counts),
        session=draw(sessions),
        t=draw(times),
        from_=draw(parties),
        to=draw(parties),
        **{name: draw(values) for name, values in fields.items()},
    )
    data = draw(octets)
    set_octets(event, data)
    if draw(st.booleans()):
        event.redacted = [Redacted(at=draw(st.integers(0, len(data))), kind=draw(texts), length=draw(counts))]
    return event


@st.composite
def _digested(draw: st.DrawFn, kind: type, **fields: st.SearchStrategy[object]) -> AnyEvent:
    event: AnyEvent = draw(_spoken(kind, octets=counts, sha256=digests, **fields))
    event.raw = event.raw_b64 = event.redacted = UNSET  # type: ignore[union-attr]
    return event


def _plain(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[AnyEvent]:
    return st.builds(kind, n=counts, session=sessions, t=times, **fields)


_tls_texts = dict.fromkeys(("version", "cipher", "alpn", "sni", "error", "alert", "advice"), texts)
any_events: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(started, session=sessions),
    _spoken(
        Command,
        verb=texts,
        group=counts,
        mechanism=_maybe(texts),
        identity=_maybe(texts),
        size=_maybe(st.integers(0, 2**63 - 1)),
        last=st.booleans(),
        partial=st.booleans(),
    ),
    _spoken(Auth, mechanism=texts, step=counts, identity=_maybe(texts), partial=st.booleans()),
    _spoken(
        Reply,
        code=_maybe(st.integers(0, 999)),
        enhanced=_maybe(texts),
        answers=_maybe(counts),
        partial=st.booleans(),
    ),
    _spoken(Content, message=counts, end=st.booleans()),
    _digested(Content, message=counts, end=st.booleans()),
    _spoken(Opaque),
    _digested(Opaque),
    _spoken(Preface, version=st.sampled_from([1, 2]), source=_maybe(texts), destination=_maybe(texts)),
    _plain(
        Tls,
        leg=st.sampled_from(["client", "server"]),
        verified=st.booleans(),
        certificates=st.lists(st.just(CERTIFICATE), max_size=2),
        **_tls_texts,
    ),
    _plain(Finding, code=texts, text=texts, about=_maybe(counts)),
    _plain(Gap, events=counts, octets=counts, reason=texts),
    _plain(End, outcome=st.sampled_from(["open", "delivered", "interrupted"]), messages=counts, reason=texts),
)
