"""The PROXY protocol's header, v1 and v2, that a balancer puts in front (HAProxy's specification).

Read from a growing buffer; nothing behind the header is looked at, so that a ClientHello in the same segment
stays whole.
"""

import ipaddress
import struct
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

SIGNATURE_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1_BYTES: Final = 107
MAX_V2_BYTES: Final = 16 + 4096
"""Header and addresses and TLVs; the length field alone would allow 64 KiB."""
_V1: Final = b"PROXY "


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A complete header.

    Attributes:
        version: 1 or 2.
        size: octets of the header; what follows belongs to the client.
        source, destination: `ADDRESS:PORT` of the original connection; absent for LOCAL (health checks)
            and UNKNOWN.
    """

    version: int
    size: int
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET


class NeedMore(msgspec.Struct, frozen=True):
    """So far this may become a header."""


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """This is no header; `reason` is for people."""

    reason: str


Parsed: TypeAlias = Header | NeedMore | Malformed


def parse_preface(buffer: bytes) -> Parsed:
    """Read a header at the start of what has come so far; never raises."""
    if buffer.startswith(SIGNATURE_V2[: len(buffer)]) and not buffer.startswith(_V1):
        return _parse_v2(buffer)
    if buffer.startswith(_V1[: len(buffer)]):
        return _parse_v1(buffer)
    return Malformed(reason="the connection does not begin with a PROXY header")


def _parse_v1(buffer: bytes) -> Parsed:
    end = buffer.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(buffer) >= MAX_V1_BYTES:
            return Malformed(reason=f"no end of line within {MAX_V1_BYTES} octets")
        return NeedMore()
    size = end + 2
    words = buffer[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(version=1, size=size)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        return Malformed(reason="it is not PROXY TCP4|TCP6|UNKNOWN with two addresses and two ports")
    try:
        version = 4 if words[1] == b"TCP4" else 6
        source, destination = (
            _checked(words[index].decode("ascii"), words[index + 2], version) for index in (2, 3)
        )
    except (ValueError, UnicodeDecodeError):
        return Malformed(reason="an address or a port in it is not one")
    return Header(version=1, size=size, source=source, destination=destination)


def _checked(host: str, port: bytes, version: int) -> str:
    address = ipaddress.ip_address(host)
    if address.version != version or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError
    return _joined(str(address), int(port))


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_v2(buffer: bytes) -> Parsed:
    if len(buffer) < 16:
        return NeedMore()
    version_command, family, length = struct.unpack("!BBH", buffer[12:16])
    if version_command >> 4 != 2 or version_command & 0xF > 1:
        return Malformed(reason="its version or command is unknown")
    size = 16 + length
    if size > MAX_V2_BYTES:
        return Malformed(reason=f"it is longer than {MAX_V2_BYTES} octets")
    if len(buffer) < size:
        return NeedMore()
    body = buffer[16:size]
    if version_command & 0xF == 0:
        return Header(version=2, size=size)  # LOCAL: the balancer's own health check
    match family >> 4:
        case 1 if length >= 12:
            sides = (body[0:4], body[4:8])
            ports = struct.unpack("!HH", body[8:12])
        case 2 if length >= 36:
            sides = (body[0:16], body[16:32])
            ports = struct.unpack("!HH", body[32:36])
        case 3 if length >= 216:
            names = [
                side.split(b"\0", 1)[0].decode("utf-8", "replace") for side in (body[:108], body[108:216])
            ]
            return Header(version=2, size=size, source=f"unix:{names[0]}", destination=f"unix:{names[1]}")
        case 0:
            return Header(version=2, size=size)
        case _:
            return Malformed(reason="its address block is too short for its family")
    source, destination = (
        _joined(str(ipaddress.ip_address(side)), port) for side, port in zip(sides, ports, strict=True)
    )
    return Header(version=2, size=size, source=source, destination=destination)
