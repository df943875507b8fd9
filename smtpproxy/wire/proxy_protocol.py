"""The PROXY protocol header of a balancer, versions 1 and 2, as a value; it knows neither SMTP nor trust.

HAProxy's proxy-protocol.txt is the source: 2.1 for the line of version 1, 2.2 for the binary header of
version 2. A header is demanded where this is used; what cannot become one is Malformed as soon as its
signature, its version 2 head, or its whole line of version 1 shows it.
"""

import ipaddress
import struct
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

MAX_V1_OCTETS: Final = 107
"""The longest line of version 1 with its CRLF (2.1)."""
MAX_V2_LENGTH: Final = 4096
"""Octets after the first 16 that are accepted: addresses and TLVs. The format would allow 65,535."""

_V1_SIGNATURE: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD_OCTETS: Final = 16
_PORTS: Final = range(65536)
_UNIX_PATH_OCTETS: Final = 108


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A whole header.

    Attributes:
        version: 1 or 2.
        source, destination: of the balancer's client, as `IP:PORT` with brackets around IPv6, or as
            `unix:PATH`; UNSET where the header names none: UNKNOWN, UNSPEC, and LOCAL (a health check).
        is_local: the balancer speaks for itself (LOCAL).
        size: of the header in octets; what follows in the buffer is the client's.
    """

    version: int
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    is_local: bool = False
    size: int


class NeedMore(msgspec.Struct, frozen=True):
    """What is there is the beginning of a header."""


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """No continuation makes this a header; `reason` says why, for people."""

    reason: str


def parse_preface(buffer: bytes) -> Header | NeedMore | Malformed:
    """Read the header at the start of a connection.

    Args:
        buffer: all octets since the connection began. Call again with more after NeedMore.

    Returns:
        The same for every way in which the octets may come; never raises.
    """
    if buffer.startswith(_V1_SIGNATURE):
        return _parse_v1(buffer)
    if buffer.startswith(_V2_SIGNATURE):
        return _parse_v2(buffer)
    if _V1_SIGNATURE.startswith(buffer) or _V2_SIGNATURE.startswith(buffer):
        return NeedMore()
    return Malformed(reason="the connection does not begin with a PROXY header")


_Ends: TypeAlias = tuple[str | UnsetType, str | UnsetType]


def _parse_v1(buffer: bytes) -> Header | NeedMore | Malformed:
    end = buffer.find(b"\r\n", 0, MAX_V1_OCTETS)
    if end < 0:
        if len(buffer) < MAX_V1_OCTETS:
            return NeedMore()
        return Malformed(reason=f"a PROXY line of more than {MAX_V1_OCTETS} octets")
    octets = end + 2
    try:
        words = buffer[:end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        return Malformed(reason="a PROXY line that is not ASCII")
    if words[1] == "UNKNOWN":
        # 2.1: what follows UNKNOWN is to be ignored.
        return Header(version=1, size=octets)
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        return Malformed(reason="a PROXY line is: PROXY TCP4|TCP6 source destination port port")
    source = _end_v1(words[1], words[2], words[4])
    destination = _end_v1(words[1], words[3], words[5])
    if source is None or destination is None:
        return Malformed(reason=f"a PROXY line with an address or a port that is none of {words[1]}")
    return Header(version=1, source=source, destination=destination, size=octets)


def _end_v1(family: str, address: str, port: str) -> str | None:
    """`IP:PORT` in its canonical spelling; None where it is not one."""
    # 2.1: decimal, no leading zeros, no sign.
    if not (
        port.isascii()
        and port.isdigit()
        and len(port) <= 5
        and port == str(int(port))
        and int(port) in _PORTS
    ):
        return None
    try:
        if family == "TCP4":
            return f"{ipaddress.IPv4Address(address)}:{port}"
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return f"[{ip}]:{port}" if ip.scope_id is None else None


def _parse_v2(buffer: bytes) -> Header | NeedMore | Malformed:
    if len(buffer) < _V2_HEAD_OCTETS:
        return _check_v2_head(buffer) or NeedMore()
    problem = _check_v2_head(buffer)
    if problem is not None:
        return problem
    command, family, length = struct.unpack_from("!BBH", buffer, len(_V2_SIGNATURE))
    if length > MAX_V2_LENGTH:
        return Malformed(reason=f"a PROXY header of {length} octets; {MAX_V2_LENGTH} are accepted")
    is_local = command & 0x0F == 0
    # 2.2: with LOCAL the addresses are to be discarded, whatever they are.
    reader, needed = _V2_FAMILIES[0x00 if is_local else family]
    if length < needed:
        return Malformed(reason="a PROXY header that is shorter than its addresses")
    octets = _V2_HEAD_OCTETS + length
    if len(buffer) < octets:
        return NeedMore()
    # What follows the addresses are TLVs, which nobody here needs.
    source, destination = reader(buffer[_V2_HEAD_OCTETS : _V2_HEAD_OCTETS + needed])
    return Header(version=2, source=source, destination=destination, is_local=is_local, size=octets)


def _check_v2_head(buffer: bytes) -> Malformed | None:
    """What is wrong with the octets between signature and length, as far as they are there."""
    head = buffer[len(_V2_SIGNATURE) :]
    if head[:1] and head[0] not in (0x20, 0x21):
        return Malformed(reason="a PROXY header of another version than 2, or neither LOCAL nor PROXY")
    if head[1:2] and head[0] == 0x21 and head[1] not in _V2_FAMILIES:
        return Malformed(reason="a PROXY header for another transport than TCP or a unix stream")
    return None


def _no_ends(octets: bytes) -> _Ends:
    return UNSET, UNSET


def _ipv4_ends(octets: bytes) -> _Ends:
    source, destination, source_port, destination_port = struct.unpack("!4s4sHH", octets)
    return (
        f"{ipaddress.IPv4Address(source)}:{source_port}",
        f"{ipaddress.IPv4Address(destination)}:{destination_port}",
    )


def _ipv6_ends(octets: bytes) -> _Ends:
    source, destination, source_port, destination_port = struct.unpack("!16s16sHH", octets)
    return (
        f"[{ipaddress.IPv6Address(source)}]:{source_port}",
        f"[{ipaddress.IPv6Address(destination)}]:{destination_port}",
    )


def _unix_ends(octets: bytes) -> _Ends:
    return _unix_end(octets[:_UNIX_PATH_OCTETS]), _unix_end(octets[_UNIX_PATH_OCTETS:])


def _unix_end(octets: bytes) -> str | UnsetType:
    # An unnamed socket's path is empty; so is, for our purposes, an abstract one's, which begins with NUL.
    path = octets.partition(b"\0")[0]
    return f"unix:{path.decode(errors='backslashreplace')}" if path else UNSET


_V2_FAMILIES: Final = {
    0x00: (_no_ends, 0),
    0x11: (_ipv4_ends, 12),
    0x21: (_ipv6_ends, 36),
    0x31: (_unix_ends, 216),
}
"""Address family and transport (2.2) → how the addresses are read, and how many octets they have."""
