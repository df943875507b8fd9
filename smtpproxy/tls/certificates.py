"""A peer's chain as values for the recording, parsed once per certificate; it judges nothing."""

import ssl
from base64 import b64encode
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from textwrap import wrap
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from smtpproxy.session.events import Certificate

MAX_KNOWN_CERTIFICATES = 512
MAX_NAMES = 200
_ENCODING_DER = 2  # _ssl.ENCODING_DER


def chain_of(ssl_object: ssl.SSLObject) -> list[Certificate]:
    """What the peer presented, leaf first; also after a handshake that failed on it.

    Empty where the peer presented nothing, or it did not come to that.
    """
    return [parse_certificate(der) for der in _chain_der(ssl_object)]


def _chain_der(ssl_object: ssl.SSLObject) -> list[bytes]:
    # Public from Python 3.13. Before, the same thing is there one level down, undocumented, and
    # getpeercert(), the documented way, refuses to answer just when the handshake has failed.
    inner: Any = getattr(ssl_object, "_sslobj", None)
    ask = getattr(inner, "get_unverified_chain", None)
    if ask is not None:
        return [certificate.public_bytes(_ENCODING_DER) for certificate in ask() or ()]
    public = getattr(ssl_object, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    try:
        leaf = ssl_object.getpeercert(True)
    except ValueError:
        return []
    return [leaf] if leaf else []


@lru_cache(maxsize=MAX_KNOWN_CERTIFICATES)
def parse_certificate(der: bytes) -> Certificate:
    """A certificate for people; never raises, since peers send what they like.

    Args:
        der: as it came.
    """
    fingerprint = sha256(der).hexdigest()
    body = "\n".join(wrap(b64encode(der).decode("ascii"), 64))
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    try:
        parsed = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=parsed.subject.rfc4514_string(),
            issuer=parsed.issuer.rfc4514_string(),
            names=_names_of(parsed),
            not_before=_iso(parsed.not_valid_before_utc),
            not_after=_iso(parsed.not_valid_after_utc),
            sha256=fingerprint,
            pem=pem,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Certificate(
            subject="(unreadable)",
            issuer="(unreadable)",
            names=[],
            not_before="",
            not_after="",
            sha256=fingerprint,
            pem=pem,
        )


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [f"DNS:{name.value}" for name in names if isinstance(name, x509.DNSName)]
    found += [f"IP:{name.value}" for name in names if isinstance(name, x509.IPAddress)]
    return found[:MAX_NAMES]


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
