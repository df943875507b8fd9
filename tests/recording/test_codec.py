"""One event as one line of JSON: what it looks like, that nothing is lost, and what is refused."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.recording.codec import (
    MAX_LINE_BYTES,
    LineError,
    NewerFormatError,
    UnknownEvent,
    decode,
    encode,
    splice_seq,
)
from smtpproxy.session.events import AnyEvent, Command, Content, Opaque, Reply, octets_of, set_octets
from tests.recording.events import any_events, samples

REPLY = (
    b'{"kind":"reply","n":1,"session":"01K","t":0.004211,"from":"server","to":"client",'
    b'"raw":"220 mx ESMTP\\r\\n","code":220}'
)


def test_a_line_reads_as_the_format_says() -> None:
    event = Reply(
        n=1, session="01K", t=0.0042112345, from_="server", to="client", raw="220 mx ESMTP\r\n", code=220
    )
    assert encode(event) == REPLY
    assert decode(REPLY) == event  # t is rounded in both


def test_octets_that_are_not_utf8_are_base64() -> None:
    event = Command(n=2, session="s", t=1.0, from_="client", to="server", verb="NOOP")
    set_octets(event, b"NOOP \xff\r\n")
    assert encode(event) == (
        b'{"kind":"command","n":2,"session":"s","t":1.0,"from":"client","to":"server",'
        b'"raw_b64":"Tk9PUCD/DQo=","verb":"NOOP"}'
    )


@given(any_events)
def test_decoding_gives_back_what_was_encoded(event: AnyEvent) -> None:
    assert decode(encode(event)) == event


@given(any_events)
def test_a_line_is_one_line_of_json_and_safe_in_a_terminal(event: AnyEvent) -> None:
    line = encode(event)
    assert json.loads(line)["kind"]
    text = line.decode()
    assert text.splitlines() == [text]  # which also splits at U+0085 and U+2028
    assert not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", text)


@pytest.mark.parametrize("event", samples(), ids=lambda event: f"{event.n}-{type(event).__name__}")
def test_every_kind_survives_the_line_with_all_its_fields(event: AnyEvent) -> None:
    assert decode(encode(event)) == event
    assert decode(splice_seq(encode(event), 2**40)) == event


def test_the_position_in_the_log_stands_in_front() -> None:
    assert splice_seq(REPLY, 17) == b'{"seq":17,' + REPLY[1:]


@pytest.mark.parametrize("fill", [b"\x01", b"\x7f", b"\xff", "\u202e".encode(), b"a"])
def test_the_most_that_one_event_carries_fits_a_line(fill: bytes) -> None:
    event = Opaque(n=0, session="s" * 64, t=1.0, from_="client", to="server")
    set_octets(event, fill * (256 * 1024 // len(fill)))
    line = encode(event)
    assert len(line) < MAX_LINE_BYTES
    assert octets_of(decode(line)) == octets_of(event)  # type: ignore[arg-type]


def test_a_kind_from_later_is_kept_as_it_came() -> None:
    line = b'{"kind":"weather","n":3,"session":"s","t":1,"sky":{"clouds":[1,2]}}'
    assert decode(line) == UnknownEvent(kind="weather", n=3, session="s", t=1.0, line=line)


def test_fields_from_later_are_ignored() -> None:
    assert decode(REPLY[:-1] + b',"mood":{"deep":[[]]}}') == decode(REPLY)


@pytest.mark.parametrize("rest", [b'"started":"x"}', b'"started":17,"client":{}}', b'"nothing":"as it was"}'])
def test_a_later_format_is_named_whatever_else_it_changed(rest: bytes) -> None:
    with pytest.raises(
        NewerFormatError, match=r"^was written by a newer smtpproxy \(format 2\); .*: upgrade$"
    ):
        decode(b'{"kind":"session","n":0,"session":"s","t":0,"format":2,' + rest)


def _line(**changes: object) -> bytes:
    fields = json.loads(REPLY) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _content(**fields: object) -> bytes:
    return _line(kind="content", message=1, code=None, **fields)


SESSION = json.loads(encode(samples()[0]))
SPAN = {"at": 0, "kind": "sasl", "length": 1}
BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON: "),
    "text": (b"EHLO app.example", "not JSON: "),
    "a number": (b"220 mx ESMTP", "not an event: "),
    "half a line": (REPLY[:50], "not JSON: "),
    "two lines": (REPLY + b"\n" + REPLY, "not JSON: "),
    "an array": (b"[" + REPLY + b"]", "not an event: "),
    "not UTF-8": (REPLY.replace(b"mx", b"\xff"), "not JSON: "),
    "half a surrogate pair": (REPLY.replace(b"mx", b"\\ud800"), "not JSON: "),
    "nested without end": (b'{"kind":"reply","x":' + b"[" * 500_000, "not JSON: "),
    "no kind": (_line(kind=None), "not an event: "),
    "kind is a number": (_line(kind=1), "not an event: "),
    "a later kind without n": (_line(kind="weather", n=None), "missing required field `n`"),
    "a later kind, overlong": (_line(kind="w" * 1000), "kind is too long"),
    "n is negative": (_line(n=-1), "n is out of bounds"),
    "n is a float": (_line(n=1.5), "not an event of kind reply: "),
    "n is enormous": (REPLY.replace(b'"n":1', b'"n":' + b"9" * 5000), "not an event"),
    "n is beyond 2**53": (_line(n=2**53), "n is out of bounds"),
    "t is negative": (_line(t=-0.1), "t is out of bounds"),
    "t is in the year 9999": (_line(t=2.5e11), "t is out of bounds"),
    "t is NaN": (_line(t=float("nan")), "not JSON"),
    "t is infinite": (REPLY.replace(b"0.004211", b"1e999"), "not an event"),
    "t is text": (_line(t="0"), "not an event of kind reply"),
    "session id is a path": (_line(session="../../etc/passwd"), "the session id is not"),
    "session id has a line end": (_line(session="01K\n"), "the session id is not"),
    "session id is empty": (_line(session=""), "the session id is not"),
    "session id is long": (_line(session="a" * 65), "the session id is not"),
    "from is nobody": (_line(**{"from": "mallory"}), "not an event of kind reply"),
    "code has four digits": (_line(code=1000), "code is not of three digits"),
    "answers is negative": (_line(answers=-1), "answers is out of bounds"),
    "no octets": (_line(raw=None), "raw or raw_b64 must be there"),
    "octets twice": (_line(raw_b64="AA=="), "raw and raw_b64 exclude each other"),
    "base64 is none": (_line(raw=None, raw_b64="%%%"), "not an event of kind reply"),
    "span outside": (_line(redacted=[SPAN | {"at": 15}]), "a redacted span lies outside of raw"),
    "span negative": (_line(redacted=[SPAN | {"at": -1}]), "a redacted span lies outside of raw"),
    "span endless": (_line(redacted=[SPAN | {"length": 2**60}]), "a redacted span's length is out of bounds"),
    "content without octets": (_content(raw=None, octets=3), "octets and sha256 must be there"),
    "content of less than nothing": (_content(octets=-3), "octets is out of bounds"),
    "digest is none": (_content(sha256="A" * 64), "sha256 is not 64 hex digits"),
    "message is negative": (_line(kind="content", code=None, message=-1), "message is out of bounds"),
    "format of the past": (json.dumps(SESSION | {"format": 0}).encode(), "there is no format 0"),
    "started at no time": (json.dumps(SESSION | {"started": "yesterday"}).encode(), "started is no time"),
    "over-long": (_line(raw="x" * MAX_LINE_BYTES), "the line is longer than"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_event_is_refused_in_a_plain_sentence(line: bytes, problem: str) -> None:
    with pytest.raises(LineError) as caught:
        decode(line)
    text = str(caught.value)
    assert problem in text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 400


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_refused_and_nothing_else_happens(line: bytes) -> None:
    with pytest.raises(LineError):
        decode(line)


@given(st.data(), st.sampled_from(samples()))
def test_a_damaged_line_is_an_event_or_refused(data: st.DataObject, event: AnyEvent) -> None:
    line = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    with suppress(LineError):
        decode(bytes(line))


def test_what_was_left_out_by_policy_is_told_by_size_and_digest() -> None:
    event = decode(_content(raw=None, octets=3, sha256="a" * 64))
    assert isinstance(event, Content)
    assert (event.octets, octets_of(event)) == (3, b"")
