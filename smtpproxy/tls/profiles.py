"""What our certificates say: the authority's own and the leaves it signs; it knows no file and no context.

Both satisfy RFC 5280 as OpenSSL's `-x509_strict` and Python 3.13's default contexts read it: subject and
authority key identifiers, critical basicConstraints and keyUsage, a subjectAltName.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smtpproxy.tls.names import Name

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

AUTHORITY_LIFETIME = timedelta(days=3653)
# Apple and the CA/Browser Forum's ballot SC-081 cap leaves at 200 days; stay below it on every clock.
LEAF_LIFETIME = timedelta(days=199)
# Virtual machines and containers wake up with clocks that are behind.
BACKDATING = timedelta(days=2)
MAX_COMMON_NAME_CHARS = 64

_NO_USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key: every TLS library has it, and a handshake costs half of one with RSA 2048."""
    return ec.generate_private_key(ec.SECP256R1())


def build_authority(key: SigningKey, *, now: datetime) -> x509.Certificate:
    """A self-signed CA certificate that may sign leaves only.

    The subject is derived from the key, so that a certificate made anew for the same key still heads the
    chains of those who trust the earlier one.
    """
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smtpproxy"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"smtpproxy CA {identifier.digest[:4].hex()}"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**_NO_USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def build_leaf(
    public_key: ec.EllipticCurvePublicKey,
    names: Sequence[Name],
    *,
    authority: x509.Certificate,
    authority_key: SigningKey,
    now: datetime,
) -> x509.Certificate:
    """A server certificate for these names (at least one), signed by the authority."""
    first = str(names[0])
    not_before = now - BACKDATING
    return (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name(
                [
                    # RFC 5280 gives the common name 64 characters; what counts is the subjectAltName.
                    x509.NameAttribute(
                        NameOID.COMMON_NAME, first if len(first) <= MAX_COMMON_NAME_CHARS else "smtpproxy"
                    )
                ]
            )
        )
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(min(not_before + LEAF_LIFETIME, authority.not_valid_after_utc))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**_NO_USAGE, "digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the authority calls itself: an operator's own CA may not use the usual digest of its key."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        public_key = authority.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
