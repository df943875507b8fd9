"""PROXY headers: every kind, every way to be wrong, and the same result however the octets come."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from smtpproxy.wire.proxy_protocol import Header, Malformed, NeedMore, parse_preface

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 50312, 25)
IPV6 = (
    ipaddress.IPv6Address("2001:db8::1").packed
    + ipaddress.IPv6Address("::1").packed
    + struct.pack("!HH", 7, 25)
)
UNIX = b"/run/app.sock".ljust(108, b"\0") + b"".ljust(108, b"\0")
TLV = b"\x04\x00\x03abc"


def v2(command: int, family: int, payload: bytes, *, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + payload


GOOD: dict[str, tuple[bytes, str | UnsetType, str | UnsetType]] = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 50312 25\r\n", "192.0.2.1:50312", "198.51.100.2:25"),
    "v1 TCP6": (b"PROXY TCP6 2001:DB8::1 ::1 7 25\r\n", "[2001:db8::1]:7", "[::1]:25"),
    "v1 ports": (b"PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n", "192.0.2.1:0", "198.51.100.2:65535"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", UNSET, UNSET),
    "v1 longest": (b"PROXY UNKNOWN ".ljust(105, b"f") + b"\r\n", UNSET, UNSET),
    "v2 TCP4": (v2(0x21, 0x11, IPV4), "192.0.2.1:50312", "198.51.100.2:25"),
    "v2 TCP4 with TLVs": (v2(0x21, 0x11, IPV4 + TLV), "192.0.2.1:50312", "198.51.100.2:25"),
    "v2 TCP6": (v2(0x21, 0x21, IPV6), "[2001:db8::1]:7", "[::1]:25"),
    "v2 unix": (v2(0x21, 0x31, UNIX), "unix:/run/app.sock", UNSET),
    "v2 UNSPEC": (v2(0x21, 0x00, b""), UNSET, UNSET),
    "v2 UNSPEC with TLVs": (v2(0x21, 0x00, TLV), UNSET, UNSET),
    "v2 LOCAL": (v2(0x20, 0x00, b""), UNSET, UNSET),
    "v2 LOCAL with addresses": (v2(0x20, 0x11, IPV4), UNSET, UNSET),
    "v2 LOCAL of any family": (v2(0x20, 0x77, b"xx"), UNSET, UNSET),
    "v2 longest": (v2(0x21, 0x11, IPV4.ljust(4096, b"\0")), "192.0.2.1:50312", "198.51.100.2:25"),
}

BAD: dict[str, bytes] = {
    "SMTP": b"EHLO app\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 50312 25\r\n",
    "a word too few": b"PROXY TCP4 192.0.2.1 198.51.100.2 50312\r\n",
    "a word too many": b"PROXY TCP4 192.0.2.1 198.51.100.2 50312 25 25\r\n",
    "two blanks": b"PROXY TCP4  192.0.2.1 198.51.100.2 50312 25\r\n",
    "no words": b"PROXY \r\n",
    "UDP": b"PROXY UDP4 192.0.2.1 198.51.100.2 50312 25\r\n",
    "the wrong family": b"PROXY TCP4 ::1 ::1 50312 25\r\n",
    "the other wrong family": b"PROXY TCP6 192.0.2.1 198.51.100.2 50312 25\r\n",
    "leading zeros": b"PROXY TCP4 192.0.02.1 198.51.100.2 50312 25\r\n",
    "a scope": b"PROXY TCP6 fe80::1%eth0 ::1 50312 25\r\n",
    "a port too high": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n",
    "a port with a zero": b"PROXY TCP4 192.0.2.1 198.51.100.2 50312 025\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.1 198.51.100.2 +50312 25\r\n",
    "a huge port": b"PROXY TCP4 192.0.2.1 198.51.100.2 " + b"9" * 60 + b" 2\r\n",
    "not ASCII": b"PROXY TCP4 192.0.2.1 198.51.100.2 50312 2\xb5\r\n",
    "too long": b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    "without an end": b"PROXY UNKNOWN ".ljust(107, b"x"),
    "bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 50312 25\n".ljust(107, b"x"),
    "v2 version 1": v2(0x11, 0x11, IPV4),
    "v2 command 2": v2(0x22, 0x11, IPV4),
    "v2 UDP": v2(0x21, 0x12, IPV4),
    "v2 unknown family": v2(0x21, 0x41, IPV4),
    "v2 TCP4 too short": v2(0x21, 0x11, IPV4[:-1]),
    "v2 TCP6 too short": v2(0x21, 0x21, IPV4),
    "v2 unix too short": v2(0x21, 0x31, UNIX[:-1]),
    "v2 too long": v2(0x21, 0x11, b"", length=4097),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("rest", [b"", b"EHLO app\r\n", b"\r\n", b"\x16\x03\x01"])
def test_a_header_whatever_follows(name: str, rest: bytes) -> None:
    header, source, destination = GOOD[name]
    preface = parse_preface(header + rest)
    assert preface == Header(
        version=int(name[1]),
        source=source,
        destination=destination,
        is_local="LOCAL" in name,
        size=len(header),
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_header_byte_by_byte(name: str) -> None:
    header = GOOD[name][0]
    for size in range(len(header)):
        assert parse_preface(header[:size]) == NeedMore(), header[:size]


@pytest.mark.parametrize("name", BAD)
def test_what_is_none(name: str) -> None:
    assert isinstance(parse_preface(BAD[name]), Malformed)
    assert isinstance(parse_preface(BAD[name] + b"EHLO app\r\n"), Malformed)


@pytest.mark.parametrize("name", ["SMTP", "TLS", "lower case", "v2 version 1", "v2 UDP", "v2 too long"])
def test_what_cannot_become_one_is_seen_at_once(name: str) -> None:
    first = {"SMTP": 1, "TLS": 1, "lower case": 1, "v2 version 1": 13, "v2 UDP": 14, "v2 too long": 16}[name]
    assert parse_preface(BAD[name][: first - 1]) == NeedMore()
    assert isinstance(parse_preface(BAD[name][:first]), Malformed)


ANYTHING = st.binary(max_size=300)
BEGUN = st.builds(
    bytes.__add__,
    st.sampled_from(
        [b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11", SIGNATURE + b" "]
    ),
    ANYTHING,
)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A good header with one octet changed."""
    header = bytearray(GOOD[draw(st.sampled_from(sorted(GOOD)))][0])
    header[draw(st.integers(0, len(header) - 1))] = draw(st.integers(0, 255))
    return bytes(header)


@given(octets=st.one_of(ANYTHING, BEGUN, changed()))
def test_more_octets_never_change_what_was_said(octets: bytes) -> None:
    """Nothing raises, and the first answer that is not NeedMore stands: so every split gives the same."""
    answers = [parse_preface(octets[:size]) for size in range(len(octets) + 1)]
    firm = [answer for answer in answers if not isinstance(answer, NeedMore)]
    assert answers[len(answers) - len(firm) :] == firm
    assert all(type(answer) is type(firm[0]) for answer in firm)
    if firm and isinstance(firm[0], Header):
        assert set(firm) == {firm[0]}
        assert firm[0].size == len(answers) - len(firm)


@given(
    source=st.ip_addresses(),
    destination=st.ip_addresses(),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_both_versions_name_the_same_ends(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address,
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address,
    ports: tuple[int, int],
) -> None:
    if source.version != destination.version:
        destination = source
    line = f"PROXY TCP{source.version} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    octets = v2(
        0x21,
        0x11 if source.version == 4 else 0x21,
        source.packed + destination.packed + struct.pack("!HH", *ports),
    )
    one, two = parse_preface(line), parse_preface(octets)
    assert isinstance(one, Header)
    assert isinstance(two, Header)
    assert (one.source, one.destination) == (two.source, two.destination)
    assert isinstance(one.source, str)
    assert one.source.rpartition(":")[2] == str(ports[0])
    assert ipaddress.ip_address(one.source.rpartition(":")[0].strip("[]")) == source
