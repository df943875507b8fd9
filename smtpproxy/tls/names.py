"""Which names a certificate can have, and which one TLS asks the server for; it knows no certificate."""

import ipaddress
import re
from functools import lru_cache
from typing import TypeAlias

from smtpproxy.errors import EndpointError

Name: TypeAlias = str | ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NAME_OCTETS = 253
# RFC 1035 2.3.1 letters, digits and hyphens, at most 63 octets; the underscore is not a host name's, but
# container networks are full of it.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")


@lru_cache(maxsize=256)
def parse_name(text: str) -> Name | None:
    """Read a name for a certificate: lower case, A-labels, no trailing dot; an address as such.

    Returns:
        None for what cannot stand there: wildcards (a client does not ask for one), empty and over-long
        labels, names over 253 octets.
    """
    try:
        return ipaddress.ip_address(text.strip("[]").split("%", 1)[0])
    except ValueError:
        pass
    try:
        name = text.removesuffix(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    if len(name) > MAX_NAME_OCTETS or not all(_LABEL.match(label) for label in name.split(".")):
        return None
    return name


def server_hostname_for(host: str) -> str:
    """The name that the server's certificate must have, ready for `SSLContext.wrap_bio`.

    It is the host that the user configured (RFC 7817 3), without a trailing dot, which would never match,
    and without an IPv6 zone, which no certificate has.

    Raises:
        EndpointError: TLS cannot carry that name.
    """
    name = parse_name(host)
    if name is None:
        raise EndpointError(f"upstream host {host!r}: not a name that a certificate can have")
    return str(name)


def sni_for(host: str) -> str:
    """The SNI that goes out for this host: "" for an address, which RFC 6066 3 keeps out of it."""
    name = parse_name(host)
    return name if isinstance(name, str) else ""
