"""The development CA: created once in a folder, loaded from it, issuing leaves; it knows no TLS context.

The folder holds `ca.pem` (the certificate, which apps are told to trust) and `ca.key` (mode 0600).
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from smtpproxy.errors import CertificateError
from smtpproxy.tls.files import PRIVATE_MODE, PUBLIC_MODE, hold_folder, load_file, save_file
from smtpproxy.tls.names import Name, parse_name
from smtpproxy.tls.profiles import SigningKey, build_authority, build_leaf, new_key

CERTIFICATE_NAME = "ca.pem"
KEY_NAME = "ca.key"
_RENEW = "smtpproxy ca create --force --certs {folder} makes a new one, which apps must then be told to trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A server certificate with its own key.

    Attributes:
        names: what it is good for, as they stand in its subjectAltName.
        not_after: UTC.
        certificate_pem: the leaf alone; its issuer is what the app trusts.
        key_pem: PKCS #8, never shown.
    """

    names: tuple[str, ...]
    not_after: datetime
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Authority:
    """A CA that apps under test are told to trust.

    Attributes:
        folder: where it lives.
        certificate: parsed.
        certificate_pem: the very octets of `ca.pem`.
    """

    folder: Path
    certificate: x509.Certificate = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    _key: SigningKey = field(repr=False)

    @classmethod
    def create(cls, folder: Path, *, force: bool = False) -> "Authority":
        """Make a new CA in a folder (made too where it is missing, mode 0700).

        Args:
            folder: where `ca.pem` and `ca.key` go.
            force: replace the one that is there.

        Raises:
            CertificateError: one is there already and `force` is not given, or the folder cannot be written.
        """
        with hold_folder(folder):
            there = [path for path in _paths(folder) if _exists(path)]
            if there and not force:
                raise CertificateError(
                    f"{there[0]} is there already; {_RENEW.format(folder=shlex.quote(str(folder)))}"
                )
            return cls._write(folder, None)

    @classmethod
    def load(cls, folder: Path) -> "Authority":
        """Read the CA of a folder.

        Raises:
            CertificateError: there is none, or it is unreadable, expired, not a CA, or the two files do
                not belong together.
        """
        certificate_path, key_path = _paths(folder)
        renew = _RENEW.format(folder=shlex.quote(str(folder)))
        if not _exists(certificate_path):
            raise CertificateError(
                f"there is no {certificate_path}: run smtpproxy ca create --certs {shlex.quote(str(folder))}"
            )
        if not _exists(key_path):
            raise CertificateError(
                f"{key_path} is missing: put it back beside {CERTIFICATE_NAME}, or {renew}"
            )
        pem = load_file(certificate_path, is_secret=False)
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            constraints = x509.BasicConstraints(ca=False, path_length=None)
        except (ValueError, UnsupportedAlgorithm):
            raise CertificateError(
                f"{certificate_path} holds no readable certificate (PEM): {renew}"
            ) from None
        if not constraints.ca:
            raise CertificateError(
                f"{certificate_path} is not a CA's certificate (no CA:TRUE in it): {renew}"
            )
        now = datetime.now(UTC)
        if certificate.not_valid_after_utc <= now:
            raise CertificateError(
                f"{certificate_path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: {renew}"
            )
        if certificate.not_valid_before_utc > now:
            raise CertificateError(
                f"{certificate_path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}:"
                f" check this machine's clock, or {renew}"
            )
        key = _load_key(key_path, renew)
        if certificate.public_key() != key.public_key():
            raise CertificateError(f"{key_path} does not belong to {certificate_path}: {renew}")
        return cls(folder=folder, certificate=certificate, certificate_pem=pem, _key=key)

    @classmethod
    def load_or_create(cls, folder: Path) -> "Authority":
        """The folder's CA, made where there is none; processes that start at once get the same one.

        A key that has lost its certificate (a crash between the two) is given a new certificate, which
        those who trusted the old one accept.

        Raises:
            CertificateError: as `load` and `create`.
        """
        certificate_path, key_path = _paths(folder)
        if _exists(certificate_path):
            return cls.load(folder)
        with hold_folder(folder):
            if _exists(certificate_path):
                return cls.load(folder)
            if _exists(key_path):
                return cls._write(folder, _load_key(key_path, _RENEW.format(folder=shlex.quote(str(folder)))))
            return cls._write(folder, None)

    @classmethod
    def _write(cls, folder: Path, key: SigningKey | None) -> "Authority":
        """Write both files, the key first: nobody trusts a certificate without one. The folder is held."""
        certificate_path, key_path = _paths(folder)
        if key is None:
            key = new_key()
            save_file(key_path, _key_pem(key), mode=PRIVATE_MODE)
        certificate = build_authority(key, now=datetime.now(UTC))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        save_file(certificate_path, pem, mode=PUBLIC_MODE)
        return cls(folder=folder, certificate=certificate, certificate_pem=pem, _key=key)

    @property
    def certificate_path(self) -> Path:
        """The file that apps are told to trust."""
        return self.folder / CERTIFICATE_NAME

    @property
    def not_after(self) -> datetime:
        """When it expires, UTC."""
        return self.certificate.not_valid_after_utc

    @property
    def sha256(self) -> str:
        """The certificate's fingerprint, lower-case hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue(self, names: Sequence[str]) -> Leaf:
        """Make a server certificate with a key of its own; costs about 0.2 ms.

        Args:
            names: host names and addresses. Those that cannot stand in a certificate, and repetitions,
                are left out; if none remains it is `localhost`.
        """
        parsed = dict.fromkeys(name for name in map(parse_name, names) if name is not None)
        chosen: list[Name] = list(parsed) or ["localhost"]
        key = new_key()
        certificate = build_leaf(
            key.public_key(),
            chosen,
            authority=self.certificate,
            authority_key=self._key,
            now=datetime.now(UTC),
        )
        return Leaf(
            names=tuple(map(str, chosen)),
            not_after=certificate.not_valid_after_utc,
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=_key_pem(key),
        )


def _paths(folder: Path) -> tuple[Path, Path]:
    return folder / CERTIFICATE_NAME, folder / KEY_NAME


def _exists(path: Path) -> bool:
    """Whether anything stands there, a dangling link too: `load` then says what is wrong with it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
    return True


def _key_pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path, renew: str) -> SigningKey:
    pem = load_file(path, is_secret=True)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError(
            f"{path} has a passphrase: store it without one (mode 0600), or {renew}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} holds no readable key (PEM): {renew}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError(f"{path} is neither an EC nor an RSA key: {renew}")
    return key
