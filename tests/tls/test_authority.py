import contextlib
import os
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpproxy.errors import CertificateError
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.profiles import build_authority, build_leaf, new_key
from tests.programs import program
from tests.tls.ends import shake


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def openssl(*words: str | Path) -> str:
    done = subprocess.run([program("openssl"), *map(str, words)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_create_makes_a_closed_folder_with_a_closed_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = Authority.create(tmp_path / "new" / "certs")
    finally:
        os.umask(before)
    assert authority.certificate_path == tmp_path / "new" / "certs" / "ca.pem"
    assert sorted(path.name for path in authority.folder.iterdir()) == ["ca.key", "ca.pem"]
    assert mode_of(authority.folder) == 0o700
    assert mode_of(authority.folder / "ca.key") == 0o600
    assert authority.certificate_path.read_bytes() == authority.certificate_pem
    lifetime = authority.not_after - datetime.now(UTC)
    assert timedelta(days=3650) < lifetime < timedelta(days=3660)
    assert "PRIVATE" not in repr(authority)
    assert "PRIVATE" not in repr(authority.issue(["a.test"]))


def test_create_leaves_what_is_there_unless_forced(tmp_path: Path) -> None:
    first = Authority.create(tmp_path)
    with pytest.raises(CertificateError, match=r"ca\.pem is there already; .*--force"):
        Authority.create(tmp_path)
    assert Authority.load(tmp_path).sha256 == first.sha256
    second = Authority.create(tmp_path, force=True)
    assert second.sha256 != first.sha256
    assert Authority.load(tmp_path).sha256 == second.sha256
    assert mode_of(tmp_path / "ca.key") == 0o600


def test_processes_that_start_at_once_get_one_authority(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from smtpproxy.tls.authority import Authority; sys.stdin.read();"
        " print(Authority.load_or_create(pathlib.Path(sys.argv[1])).sha256)"
    )
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, str(tmp_path / "certs")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        for process in started:
            assert process.stdin
            process.stdin.close()
        answers = [process.stdout.read() for process in started if process.stdout]
    assert len(set(answers)) == 1
    assert answers[0].strip() == Authority.load(tmp_path / "certs").sha256


def test_a_key_without_its_certificate_gets_one_that_old_trust_covers(tmp_path: Path) -> None:
    old = Authority.create(tmp_path)
    old.certificate_path.unlink()
    new = Authority.load_or_create(tmp_path)
    assert new.sha256 != old.sha256

    trusts_old = ssl.create_default_context(cadata=old.certificate_pem.decode())
    ends = shake(trusts_old, leaf_context(new, "app.test", tmp_path), "app.test")
    assert (ends.client_error, ends.server_error) == (None, None)


def leaf_context(authority: Authority, name: str, folder: Path) -> ssl.SSLContext:
    leaf = authority.issue([name])
    path = folder / "leaf.pem"
    path.write_bytes(leaf.key_pem + leaf.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def write_authority(folder: Path, certificate: x509.Certificate, key: object) -> None:
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").touch(0o600)
    (folder / "ca.key").write_bytes(
        key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def expired(folder: Path) -> None:
    key = new_key()
    write_authority(folder, build_authority(key, now=datetime(2010, 1, 1, tzinfo=UTC)), key)


def not_yet_valid(folder: Path) -> None:
    key = new_key()
    write_authority(folder, build_authority(key, now=datetime.now(UTC) + timedelta(days=30)), key)


def not_a_ca(folder: Path) -> None:
    key, now = new_key(), datetime.now(UTC)
    leaf = build_leaf(
        key.public_key(),
        ["a.test"],
        authority=build_authority(key, now=now),
        authority_key=key,
        now=now,
    )
    write_authority(folder, leaf, key)


def mismatching(folder: Path) -> None:
    write_authority(folder, build_authority(new_key(), now=datetime.now(UTC)), new_key())


def linked_key(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.key").rename(folder / "elsewhere.key")
    (folder / "ca.key").symlink_to("elsewhere.key")


def linked_certificate(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.pem").unlink()
    (folder / "ca.pem").symlink_to("nowhere.pem")


def open_key(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.key").chmod(0o644)


def garbled_certificate(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def garbled_key(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.key").write_bytes(b"hunter2")


def locked_key(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.key").write_bytes(
        new_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )


def missing_key(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.key").unlink()


def fifo(folder: Path) -> None:
    Authority.create(folder)
    (folder / "ca.pem").unlink()
    os.mkfifo(folder / "ca.pem")


@pytest.mark.parametrize(
    ("breakage", "says"),
    [
        (expired, r"ca\.pem expired on 2020-01-02: smtpproxy ca create --force"),
        (not_yet_valid, r"ca\.pem is not valid before .*clock"),
        (not_a_ca, r"ca\.pem is not a CA's certificate.*--force"),
        (mismatching, r"ca\.key does not belong to .*ca\.pem: smtpproxy ca create --force"),
        (linked_key, r"ca\.key is a symbolic link: put the file itself there"),
        (linked_certificate, r"ca\.pem is a symbolic link"),
        (open_key, r"ca\.key can be read by others \(mode 0644\): run chmod 600"),
        (garbled_certificate, r"ca\.pem holds no readable certificate.*--force"),
        (garbled_key, r"ca\.key holds no readable key.*--force"),
        (locked_key, r"ca\.key has a passphrase: store it without one"),
        (missing_key, r"ca\.key is missing: put it back"),
        (fifo, r"ca\.pem is not a file"),
    ],
)
@pytest.mark.parametrize("load", [Authority.load, Authority.load_or_create])
def test_what_is_wrong_is_said_in_one_line(load: object, breakage: object, says: str, tmp_path: Path) -> None:
    breakage(tmp_path)  # type: ignore[operator]
    before = {path.name: path.lstat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(CertificateError, match=says) as caught:
        load(tmp_path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert {path.name: path.lstat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_load_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"there is no .*ca\.pem: run smtpproxy ca create --certs"):
        Authority.load(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CertificateError, match="cannot be used for certificates"):
        Authority.create(tmp_path / "file" / "certs")


def test_an_operators_own_rsa_authority_will_do(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    write_authority(tmp_path, build_authority(key, now=datetime.now(UTC)), key)
    authority = Authority.load(tmp_path)
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    ends = shake(client, leaf_context(authority, "app.test", tmp_path), "app.test")
    assert ends.client_error is None


def test_a_leaf_says_what_strict_readers_want(authority: Authority) -> None:
    leaf = authority.issue(["App.Test.", "127.0.0.1", "::1", "*.test", "a..b", "x" * 64, "app.test"])
    assert leaf.names == ("app.test", "127.0.0.1", "::1")
    parsed = x509.load_pem_x509_certificate(leaf.certificate_pem)
    assert parsed.not_valid_before_utc < datetime.now(UTC) - timedelta(days=1, hours=23)
    assert parsed.not_valid_after_utc - parsed.not_valid_before_utc <= timedelta(days=199)
    extensions = {extension.oid._name: extension.critical for extension in parsed.extensions}
    assert extensions == {
        "subjectAltName": False,
        "basicConstraints": True,
        "keyUsage": True,
        "extendedKeyUsage": False,
        "subjectKeyIdentifier": False,
        "authorityKeyIdentifier": False,
    }
    assert isinstance(parsed.signature_hash_algorithm, hashes.SHA256)


def test_every_leaf_has_its_own_key_and_number(authority: Authority) -> None:
    first, second = authority.issue(["a.test"]), authority.issue(["a.test"])
    assert first.key_pem != second.key_pem
    one, other = (x509.load_pem_x509_certificate(leaf.certificate_pem) for leaf in (first, second))
    assert one.serial_number != other.serial_number


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.text(max_size=70) | st.ip_addresses().map(str), max_size=4))
def test_any_names_make_a_leaf(authority: Authority, names: list[str]) -> None:
    leaf = authority.issue(names)
    parsed = x509.load_pem_x509_certificate(leaf.certificate_pem)
    parsed.verify_directly_issued_by(authority.certificate)
    found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == list(leaf.names)


def test_openssl_accepts_chain_strictly(authority: Authority, tmp_path: Path) -> None:
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(authority.issue(["app.test", "127.0.0.1"]).certificate_pem)
    strictly = ("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority.certificate_path)
    for check in (("-verify_hostname", "app.test"), ("-verify_ip", "127.0.0.1")):
        assert "OK" in openssl(*strictly, *check, leaf)
    text = openssl("x509", "-in", authority.certificate_path, "-noout", "-text")
    assert "CA:TRUE, pathlen:0" in text
    assert "Certificate Sign, CRL Sign" in text
    assert "ASN1 OID: prime256v1" in text


def test_the_rules_of_python_313s_default_context_accept_the_chain(
    authority: Authority, tmp_path: Path
) -> None:
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert shake(client, leaf_context(authority, "app.test", tmp_path), "app.test").client_error is None
