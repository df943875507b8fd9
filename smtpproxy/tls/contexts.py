"""The TLS context of each leg, made once: what the app is shown, how the server is checked; no handshake.

Client leg: the app connects to us, so we are TLS's server. Its context holds a callback that picks, for the
name the app asks for (SNI, RFC 6066 3), a context with a leaf for that name, and remembers the name on the
TLS object. Server leg: we are TLS's client, and check the server as the app would.
"""

import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from smtpproxy.errors import CertificateError, ConfigError
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.files import create_private
from smtpproxy.tls.leaf_contexts import LeafContexts
from smtpproxy.tls.roots import load_system_roots

TlsVersion: TypeAlias = Literal["1.0", "1.1", "1.2", "1.3"]

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_LEGACY_VERSIONS = ("1.0", "1.1")
_WEAK_CERTIFICATE = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class ClientLegObject(ssl.SSLObject):
    """The TLS object of a client's leg; it knows which name the app asked for.

    Attributes:
        sni: as received; "" where there was none.
    """

    sni: str = ""


def sni_of(ssl_object: ssl.SSLObject) -> str:
    """The SNI received on a client's leg; "" where there was none, or for a server's leg."""
    return ssl_object.sni if isinstance(ssl_object, ClientLegObject) else ""


def make_client_leg_context(
    authority: Authority | None,
    *,
    own_certificate: tuple[Path, Path | None] | None = None,
    names: Sequence[str] = (),
    minimum_version: TlsVersion = "1.2",
    ciphers: str = "",
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """A context that shows the app a certificate; use it with `wrap_bio(..., server_side=True)`.

    Args:
        authority: issues a leaf for each name asked for; needed where `own_certificate` is None.
        own_certificate: the operator's certificate (with its chain) and key instead, whatever is asked
            for; a key of None stands in the certificate's file.
        names: what every leaf is good for besides the name asked for: the listen address, the server's.
        minimum_version: below 1.2 the security level is lowered too, as those versions need it.
        ciphers: an OpenSSL cipher string for TLS 1.2 and older; "" is OpenSSL's choice.
        keylog: append session secrets to this file (SSLKEYLOGFILE's format), made with mode 0600.

    Raises:
        CertificateError: the operator's certificate or key, or the keylog file, cannot be used.
        ConfigError: the ciphers are not known to OpenSSL.
    """

    def new_context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Tickets come with the first octets we send, and resuming would buy an app under test nothing.
        context.num_tickets = 0
        _configure(context, minimum_version, ciphers, keylog, option="--tls-ciphers")
        return context

    context = new_context()
    if own_certificate is not None:
        _load_own_certificate(context, *own_certificate, options=("--listen-cert", "--listen-key"))
        pick = None
    else:
        assert authority is not None
        pick = LeafContexts(authority, tuple(names), context, new_context).pick

    def on_sni(ssl_object: ssl.SSLObject, sni: str | None, _context: ssl.SSLContext) -> None:
        if sni is not None and isinstance(ssl_object, ClientLegObject):
            ssl_object.sni = sni
        if pick is not None:
            chosen = pick(sni)
            if chosen is not _context:
                ssl_object.context = chosen

    context.sslobject_class = ClientLegObject
    context.sni_callback = on_sni
    return context


def make_server_leg_context(
    *,
    ca_file: Path | None = None,
    is_insecure: bool = False,
    client_certificate: tuple[Path, Path | None] | None = None,
    minimum_version: TlsVersion = "1.2",
    ciphers: str = "",
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """A context that checks the server; use it with `wrap_bio(server_hostname=server_hostname_for(host))`.

    The rules are OpenSSL's own on every Python: not X509_STRICT, by which 3.13 turns away many a private CA
    that all the other programs of a site accept.

    Args:
        ca_file: trust the certificates in this PEM file (or folder of hashed ones) instead of the system's.
            An intermediate or the server's very certificate will do.
        is_insecure: check nothing at all.
        client_certificate: ours (with its chain) and its key, for a server that asks.
        minimum_version: below 1.2 the security level is lowered and unsafe legacy renegotiation accepted.
        ciphers: an OpenSSL cipher string for TLS 1.2 and older; "" is OpenSSL's choice.
        keylog: append session secrets to this file (SSLKEYLOGFILE's format), made with mode 0600.

    Raises:
        CertificateError: a certificate, key or keylog file cannot be used.
        ConfigError: the ciphers are not known to OpenSSL.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _configure(context, minimum_version, ciphers, keylog, option="--upstream-tls-ciphers")
    if minimum_version in _LEGACY_VERSIONS:
        context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        try:
            if ca_file.is_dir():
                context.load_verify_locations(capath=ca_file)
            else:
                context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise CertificateError(
                f"--upstream-ca {ca_file}: no certificate (PEM) can be read in it"
            ) from None
        except OSError as error:
            raise CertificateError(f"--upstream-ca {ca_file}: {error.strerror}") from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        load_system_roots(context)
    if client_certificate is not None:
        _load_own_certificate(context, *client_certificate, options=("--upstream-cert", "--upstream-key"))
    return context


def _configure(
    context: ssl.SSLContext, minimum_version: TlsVersion, ciphers: str, keylog: Path | None, *, option: str
) -> None:
    is_legacy = minimum_version in _LEGACY_VERSIONS
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    with warnings.catch_warnings():
        # Python deprecates naming 1.0 and 1.1; whoever debugs an old appliance asks for just that.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[minimum_version]
    if ciphers or is_legacy:
        chosen = ciphers or "DEFAULT"
        if is_legacy and "@SECLEVEL" not in chosen:
            chosen += ":@SECLEVEL=0"
        try:
            context.set_ciphers(chosen)
        except ssl.SSLError:
            raise ConfigError(
                f"{option} {ciphers!r}: OpenSSL knows no such cipher; see openssl ciphers -v"
            ) from None
    if keylog is not None:
        create_private(keylog)
        try:
            context.keylog_filename = str(keylog)
        except OSError as error:
            raise CertificateError(f"keylog {keylog} cannot be written: {error.strerror}") from None


def _load_own_certificate(
    context: ssl.SSLContext, certificate: Path, key: Path | None, *, options: tuple[str, str]
) -> None:
    """Load what the operator brought.

    Raises:
        CertificateError: names the flag whose file is wrong.
    """
    for option, path in zip(options, (certificate, key), strict=True):
        if path is None:
            continue
        try:
            path.open("rb").close()
        except OSError as error:
            raise CertificateError(f"{option} {path}: {error.strerror}") from None

    def refuse() -> str:
        # Without a callback OpenSSL would ask on the terminal, and a service would hang there.
        raise CertificateError(
            f"{options[1]} {key or certificate}: the key has a passphrase; store it without"
        )

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = "the key does not belong to the certificate"
        elif error.reason in _WEAK_CERTIFICATE:
            problem = f"OpenSSL finds it too weak ({error.reason.lower().replace('_', ' ')})"
        else:
            problem = "no certificate and key (PEM) can be read there"
        where = f"{options[0]} {certificate}" + (f", {options[1]} {key}" if key else "")
        raise CertificateError(f"{where}: {problem}") from None
