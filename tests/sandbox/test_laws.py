"""Laws: whatever a client says gets a well-formed reply, and the same every time."""

import re

from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.sandbox import Sandbox
from smtpproxy.session.decisions import Answer, Decision, Delay, Drop
from tests.sandbox.dialogue import Client

LINE = re.compile(rb"[2-5][0-5][0-9][ -][ -~]*\r\n\Z")
ODD = st.binary(max_size=200).map(lambda octets: octets.replace(b"\n", b""))
LOCALS = st.sampled_from(
    [
        b"a",
        b"rcpt-550",
        b"data-421",
        b"drop-data",
        b"slow-data-2",
        b"greylist",
        b"datacmd-451",
        b"rcpt-999",
        b"",
    ]
)
SENSIBLE = st.one_of(
    st.builds(lambda local: b"MAIL FROM:<" + local + b"@x.example>", LOCALS),
    st.builds(lambda local: b"RCPT TO:<" + local + b"@x.example>", LOCALS),
    st.builds(
        lambda octets, last: b"BDAT %d%s" % (octets, last),
        st.integers(0, 600),
        st.sampled_from([b"", b" LAST"]),
    ),
    st.sampled_from([b"EHLO app", b"LHLO app", b"DATA", b"RSET", b"STARTTLS", b"NOOP", b"", b"*", b"QUIT"]),
    st.sampled_from(
        [b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH CRAM-MD5", b"AUTH XOAUTH2 AA==", b"AUTH PLAIN AGEAYg=="]
    ),
)
PREFIXED = st.builds(
    bytes.__add__,
    st.sampled_from(
        [b"MAIL FROM:", b"MAIL FROM:<", b"MAIL FROM:<a@b> ", b"RCPT TO:<", b"RCPT TO:<a@b> ", b"AUTH "]
    ),
    ODD,
)
SAID = st.lists(st.one_of(SENSIBLE, SENSIBLE, ODD, PREFIXED), max_size=25)


def replies_of(decision: Decision) -> tuple[bytes, ...]:
    if isinstance(decision, Delay):
        assert decision.seconds > 0
        decision = decision.then
    if isinstance(decision, Drop):
        return ()
    assert isinstance(decision, Answer)
    assert decision.replies
    return decision.replies


def is_well_formed(reply: bytes) -> bool:
    """RFC 5321 4.2: one code on all lines, a hyphen on all but the last, 512 octets at most."""
    lines = reply.splitlines(keepends=True)
    return (
        all(LINE.match(line) and len(line) <= 512 for line in lines)
        and len({line[:3] for line in lines}) == 1
        and [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    )


@given(said=SAID, is_lmtp=st.booleans())
def test_every_line_gets_a_well_formed_reply(said: list[bytes], is_lmtp: bool) -> None:
    client = Client(Sandbox(size_limit=500), is_lmtp=is_lmtp)
    for line in [b"LHLO app" if is_lmtp else b"EHLO app", *said]:
        client.say(line)
        for reply in replies_of(client.last):
            assert is_well_formed(reply), (line, reply)


@given(said=SAID)
def test_the_same_is_answered_the_same(said: list[bytes]) -> None:
    one, other = Client(), Client()
    for line in said:
        assert one.say(line) == other.say(line)


@given(
    line=st.integers(1, 70_000).flatmap(
        lambda size: st.sampled_from([b"A", b"<", b'"', b"\\", b" ", b"=", b"9"]).map(
            lambda octet: octet * size
        )
    )
)
def test_long_lines_are_tolerated(line: bytes) -> None:
    client = Client()
    client.say("EHLO app")
    for said in (
        line,
        b"MAIL FROM:" + line,
        b'MAIL FROM:<"' + line,
        b"MAIL FROM:<a@b> SIZE=" + line,
        b"BDAT " + line,
    ):
        client.is_sasl = client.is_content = False
        client.say(said)
        for reply in replies_of(client.last):
            assert is_well_formed(reply)


def test_a_reply_to_a_long_address_fits() -> None:
    client = Client()
    client.say("EHLO app")
    client.say("MAIL FROM:<>")
    reply = client.say(f"RCPT TO:<rcpt-999+{'x' * 900}@y.example>")
    assert reply.startswith("501 5.1.3 <rcpt-999+xxx")
    assert reply.endswith("the code of a failure is 400 to 599")
