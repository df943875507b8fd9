"""The path of MAIL and RCPT, read strictly (RFC 5321 4.1.2, RFC 6531 3.3); it knows nothing of parameters.

Two liberties, both Postfix's: blanks after the colon, and a path without its angle brackets.
"""

import ipaddress
import re
from typing import Final

import msgspec

from smtpproxy.sandbox.replies import Refusal

MAX_PATH_OCTETS: Final = 1024
"""RFC 5321 4.5.3.1.3 asks for 256; longer ones are met, and nobody needs to remember more than this."""

_BRACKETED = re.compile(rb'<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>(.*)\Z', re.DOTALL)
_BARE = re.compile(rb"([^\s<>]+)(.*)\Z", re.DOTALL)
# Classes say what is not in them: a range of all that is not ASCII costs tens of milliseconds to compile.
_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f]'
_LETTER = r"[^\x00-/:-@\[-^`{-\x7f]"
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-){{0,61}}{_LETTER})?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED = re.compile(r'"((?:[^\x00-\x1f"\\\x7f]|\\[ -~])*)"\Z')
_DOMAIN_NAME = re.compile(rf"{_DOMAIN}\Z")
_LITERAL = re.compile(r"\[(?:([Ii][Pp][Vv]6):|([A-Za-z0-9-]*[A-Za-z0-9]):)?([!-Z^-~]+)\]\Z")
_SOURCE_ROUTE = re.compile(rf"@{_DOMAIN}(?:,@{_DOMAIN})*:")
_MAX_DOMAIN = 255


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """A reverse-path or forward-path.

    Attributes:
        address: as written, without brackets and source route; "" is the null reverse-path.
        local: the local part without quotes; also of `<postmaster>`, which has no domain.
        is_ascii: whether it can be said without SMTPUTF8.
    """

    address: str = ""
    local: str = ""
    is_ascii: bool = True


def parse_path(argument: bytes, *, keyword: str, status: str) -> tuple[Path, bytes]:
    """Read the path at the start of MAIL's or RCPT's argument.

    Args:
        argument: what follows the verb.
        keyword: `FROM` or `TO`.
        status: the enhanced code of a syntax error: 5.1.7 for senders, 5.1.3 for recipients (RFC 3463 3.2).

    Returns:
        The path and what follows it, which is empty or begins with a blank.

    Raises:
        Refusal: with the reply.
    """
    verb = "MAIL" if keyword == "FROM" else "RCPT"
    head, colon, rest = argument.partition(b":")
    if not colon or head.strip().upper() != keyword.encode():
        raise Refusal(501, "5.5.4", f"Syntax: {verb} {keyword}:<address>")
    rest = rest.lstrip()
    match = _BRACKETED.match(rest) if rest.startswith(b"<") else _BARE.match(rest)
    if match is None or (match[2] and not match[2][:1].isspace()):
        raise Refusal(501, status, f"Bad address syntax; write {verb} {keyword}:<address>")
    return _path(match[1].strip(), status=status), match[2]


def _path(octets: bytes, *, status: str) -> Path:
    if not octets:
        return Path()
    if len(octets) > MAX_PATH_OCTETS:
        raise Refusal(501, status, f"An address of more than {MAX_PATH_OCTETS} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise Refusal(501, status, "The address is neither ASCII nor UTF-8") from None
    if not text.isprintable():
        raise Refusal(501, status, "Bad address syntax: a character that cannot stand in an address")
    # RFC 5321 4.1.1.3, appendix C: a source route is to be accepted and ignored.
    route = _SOURCE_ROUTE.match(text)
    address = text[route.end() :] if route else text
    local, at, domain = address.rpartition("@")
    if not at:
        if domain.lower() != "postmaster":
            raise Refusal(501, status, "The address needs a domain: local-part@domain")
        return Path(address=address, local=address)
    quoted = _QUOTED.match(local)
    if quoted is None and not _DOT_ATOM.match(local):
        raise Refusal(501, status, "Bad address syntax before the @")
    if not _is_domain(domain):
        raise Refusal(501, status, "Bad address syntax after the @")
    return Path(
        address=address,
        local=re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else local,
        is_ascii=address.isascii(),
    )


def _is_domain(domain: str) -> bool:
    if domain.startswith("["):
        return _is_literal(domain)
    return len(domain) <= _MAX_DOMAIN and _DOMAIN_NAME.match(domain) is not None


def _is_literal(domain: str) -> bool:
    """RFC 5321 4.1.3: `[192.0.2.1]`, `[IPv6:2001:db8::1]`, or a tag that is not ours to judge."""
    match = _LITERAL.match(domain)
    if match is None:
        return False
    is_v6, tag, content = match[1], match[2], match[3]
    if tag:
        return True
    try:
        if is_v6:
            return ipaddress.IPv6Address(content).scope_id is None
        ipaddress.IPv4Address(content)
    except ValueError:
        return False
    return True
