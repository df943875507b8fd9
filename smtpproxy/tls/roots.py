"""The certificates that this system trusts: loaded into a context, or as PEM; it knows no CA of ours."""

import re
import ssl
from pathlib import Path

# Where an OpenSSL that was built elsewhere (a portable Python) does not look by itself.
KNOWN_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD, OpenBSD
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def load_system_roots(context: ssl.SSLContext) -> None:
    """Trust what the system trusts; SSL_CERT_FILE and SSL_CERT_DIR count, as everywhere."""
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        bundle = find_system_bundle()
        if bundle is not None:
            context.load_verify_locations(cafile=bundle)


def find_system_bundle(*, but_not: Path | None = None) -> Path | None:
    """The file of the system's roots; None where there is none.

    Args:
        but_not: a file that is no answer: our own bundle, which SSL_CERT_FILE may well name.
    """
    paths = ssl.get_default_verify_paths()
    # paths.cafile is None where there is no such file, whatever its type says.
    candidates: tuple[str | None, ...] = (paths.cafile, paths.openssl_cafile, *KNOWN_BUNDLES)
    for candidate in filter(None, candidates):
        path = Path(candidate)
        if path.is_file() and not (but_not is not None and but_not.exists() and path.samefile(but_not)):
            return path
    return None


def read_certificates(path: Path) -> list[bytes]:
    """Every PEM certificate in a file, without the text around it, each once.

    Raises:
        OSError: it cannot be read.
    """
    return list(dict.fromkeys(found.group() for found in _PEM.finditer(path.read_bytes())))
