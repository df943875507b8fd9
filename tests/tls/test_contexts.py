import ssl
import stat
import warnings
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from smtpproxy.errors import CertificateError, ConfigError
from smtpproxy.tls import leaf_contexts
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.contexts import (
    ClientLegObject,
    TlsVersion,
    make_client_leg_context,
    make_server_leg_context,
    sni_of,
)
from tests.tls.ends import Ends, shake

VERSIONS: list[TlsVersion] = ["1.2", "1.3"]
NAMES = ("127.0.0.1", "::1", "localhost", "smtp.example.com")


def app(authority: Authority) -> ssl.SSLContext:
    """An app that trusts our authority and checks names."""
    return ssl.create_default_context(cadata=authority.certificate_pem.decode())


def names_shown(ends: Ends) -> list[str]:
    der = ends.client.getpeercert(True)
    assert der
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in names.value]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_app_is_shown_a_leaf_for_the_name_it_asks_for(authority: Authority, version: TlsVersion) -> None:
    context = make_client_leg_context(authority, names=NAMES)
    client = app(authority)
    client.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    ends = shake(client, context, "Mail.Other.Example")
    assert (ends.client_error, ends.server_error) == (None, None)
    assert ends.server.version() == f"TLSv{version}"
    assert names_shown(ends) == ["mail.other.example", *NAMES]
    assert sni_of(ends.server).lower() == "mail.other.example"


@pytest.mark.parametrize("host", NAMES)
def test_what_the_route_is_called_needs_no_leaf_of_its_own(authority: Authority, host: str) -> None:
    ends = shake(app(authority), make_client_leg_context(authority, names=NAMES), host)
    assert ends.client_error is None
    assert names_shown(ends) == list(NAMES)
    assert sni_of(ends.server) == (host if host[0].isalpha() else "")


def test_no_name_and_names_of_no_use_get_the_default_leaf(authority: Authority) -> None:
    context = make_client_leg_context(authority, names=NAMES)
    careless = make_server_leg_context(is_insecure=True)
    for host in (None, "*.example.com", "-odd-"):
        ends = shake(careless, context, host)
        assert ends.client_error is None
        assert names_shown(ends) == list(NAMES)
        assert sni_of(ends.server) == (host or "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_name_that_is_not_ascii_ends_that_handshake_with_an_alert_and_no_other(
    authority: Authority,
) -> None:
    context = make_client_leg_context(authority, names=NAMES)
    to_client, to_server, from_client, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = make_server_leg_context(is_insecure=True).wrap_bio(
        to_client, from_client, server_hostname="app.test"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    to_server.write(from_client.read().replace(b"app.test", b"\xff\xfe\x00.test"))
    server = context.wrap_bio(to_server, from_server, server_side=True)
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    assert from_server.read()[:1] == b"\x15"  # an alert
    assert shake(app(authority), context, "app.test").client_error is None


def test_one_context_per_name_and_a_bounded_number_of_them(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaf_contexts, "MAX_LEAF_CONTEXTS", 3)
    context = make_client_leg_context(authority, names=NAMES)
    client = app(authority)

    def serial(host: str) -> str:
        ends = shake(client, context, host)
        peer = ends.client.getpeercert()
        assert peer
        return str(peer["serialNumber"])

    first, default = serial("a.test"), serial("localhost")
    assert serial("a.test") == first
    serial("b.test")
    assert serial("a.test") == first  # used a moment ago, so it stays
    serial("c.test")  # the place of b.test
    assert serial("a.test") == first
    serial("d.test")
    serial("e.test")
    assert serial("a.test") != first
    assert serial("localhost") == default


def test_a_leaf_is_made_anew_in_time(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_contexts, "RENEW_AFTER_S", -1.0)
    context = make_client_leg_context(authority, names=NAMES)
    client = app(authority)
    certificates = [shake(client, context, "localhost").client.getpeercert(True) for _ in range(2)]
    assert None not in certificates
    assert certificates[0] != certificates[1]


def test_when_no_leaf_can_be_made_the_default_one_is_shown(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_client_leg_context(authority, names=NAMES)

    def no_descriptors(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(leaf_contexts.os, "memfd_create", no_descriptors)
    ends = shake(make_server_leg_context(is_insecure=True), context, "new.test")
    assert ends.client_error is None
    assert names_shown(ends) == list(NAMES)


def test_no_tickets_and_no_renegotiation(authority: Authority) -> None:
    context = make_client_leg_context(authority, names=NAMES)
    assert context.options & ssl.OP_NO_RENEGOTIATION
    ends = shake(app(authority), context, "a.test")
    assert ends.client.session is None or not ends.client.session.has_ticket


def test_the_operators_own_certificate_is_shown_whatever_is_asked_for(tmp_path: Path) -> None:
    ca = trustme.CA()
    leaf = ca.issue_cert("own.test")
    chain, key = tmp_path / "own.pem", tmp_path / "own.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(key))
    context = make_client_leg_context(None, own_certificate=(chain, key))
    client = ssl.create_default_context()
    ca.configure_trust(client)
    assert shake(client, context, "own.test").client_error is None
    ends = shake(client, context, "other.test")
    assert isinstance(ends.client_error, ssl.SSLCertVerificationError)
    assert sni_of(ends.server) == "other.test"

    both = tmp_path / "both.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
    assert (
        shake(client, make_client_leg_context(None, own_certificate=(both, None)), "own.test").client_error
        is None
    )


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("missing", r"--listen-cert .*missing: No such file"),
        ("missing-key", r"--listen-key .*missing: No such file"),
        ("mismatch", "the key does not belong to the certificate"),
        ("garbage", r"no certificate and key \(PEM\)"),
        ("passphrase", r"--listen-key .*has a passphrase"),
    ],
)
def test_what_is_wrong_with_it_is_said(which: str, says: str, tmp_path: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization

    leaf, other = authority.issue(["a.test"]), authority.issue(["b.test"])
    files = {
        "chain": leaf.certificate_pem,
        "key": leaf.key_pem,
        "other": other.key_pem,
        "garbage": b"hunter2",
        "locked": serialization.load_pem_private_key(leaf.key_pem, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        ),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    pair = {
        "missing": ("missing", "key"),
        "missing-key": ("chain", "missing"),
        "mismatch": ("chain", "other"),
        "garbage": ("garbage", "key"),
        "passphrase": ("chain", "locked"),
    }[which]
    with pytest.raises(CertificateError, match=says) as caught:
        make_client_leg_context(None, own_certificate=(tmp_path / pair[0], tmp_path / pair[1]))
    assert "hunter2" not in str(caught.value)


def test_keylog_holds_the_secrets_of_every_leaf_and_is_its_owners(
    authority: Authority, tmp_path: Path
) -> None:
    client_leg, server_leg = tmp_path / "client-leg.keylog", tmp_path / "server-leg.keylog"
    context = make_client_leg_context(authority, names=NAMES, keylog=client_leg)
    upstream = make_server_leg_context(ca_file=authority.certificate_path, keylog=server_leg)
    for host in ("localhost", "other.test"):
        assert shake(upstream, context, host).client_error is None
    seen = [set(path.read_text().split()) for path in (client_leg, server_leg)]
    assert seen[0] == seen[1]
    assert client_leg.read_text().count("CLIENT_TRAFFIC_SECRET_0") == 2
    assert [stat.S_IMODE(path.stat().st_mode) for path in (client_leg, server_leg)] == [0o600, 0o600]


def test_keylog_that_cannot_be_written_is_said(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path / "link", tmp_path / "none" / "keys"):
        with pytest.raises(CertificateError, match="cannot be written"):
            make_server_leg_context(keylog=path)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("minimum", ["1.0", "1.1", "1.2", "1.3"])
def test_the_minimum_version_holds_on_both_legs(authority: Authority, minimum: TlsVersion) -> None:
    context = make_client_leg_context(authority, names=NAMES, minimum_version=minimum)
    upstream = make_server_leg_context(ca_file=authority.certificate_path, minimum_version=minimum)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        versions = [
            ssl.TLSVersion.TLSv1,
            ssl.TLSVersion.TLSv1_1,
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.TLSv1_3,
        ]
        for ours, is_client in ((context, False), (upstream, True)):
            for version in versions:
                peer = make_server_leg_context(is_insecure=True) if not is_client else None
                peer = peer or make_client_leg_context(authority, names=NAMES)
                peer.set_ciphers("DEFAULT:@SECLEVEL=0")
                peer.minimum_version = peer.maximum_version = version
                ends = shake(ours, peer, "localhost") if is_client else shake(peer, ours, "localhost")
                number = f"1.{versions.index(version)}"
                assert (ends.client_error is None) == (number >= minimum), (number, is_client)


def test_ciphers_are_taken_or_refused(authority: Authority) -> None:
    context = make_client_leg_context(authority, names=NAMES, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")
    client = app(authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    ends = shake(client, context, "other.test")
    assert ends.client.cipher() == ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", 256)
    with pytest.raises(ConfigError, match="--upstream-tls-ciphers 'ROT13'"):
        make_server_leg_context(ciphers="ROT13")


def test_an_intermediate_or_the_very_certificate_may_be_trusted_upstream(tmp_path: Path) -> None:
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert("srv.test")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    for number, pem in enumerate((root.cert_pem, middle.cert_pem, leaf.cert_chain_pems[0])):
        path = tmp_path / f"{number}.pem"
        pem.write_to_path(str(path))
        assert shake(make_server_leg_context(ca_file=path), server, "srv.test").client_error is None
    assert shake(make_server_leg_context(), server, "srv.test").client_error is not None


def test_an_upstream_ca_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(CertificateError, match=r"--upstream-ca .*empty: no certificate"):
        make_server_leg_context(ca_file=tmp_path / "empty")
    with pytest.raises(CertificateError, match=r"--upstream-ca .*none: No such file"):
        make_server_leg_context(ca_file=tmp_path / "none")


def test_a_client_certificate_is_shown_to_a_server_that_asks(tmp_path: Path) -> None:
    ca = trustme.CA()
    path, roots = tmp_path / "client.pem", tmp_path / "ca.pem"
    ca.issue_cert("me@app.test").private_key_and_cert_chain_pem.write_to_path(str(path))
    ca.cert_pem.write_to_path(str(roots))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("srv.test").configure_cert(server)
    ca.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    ends = shake(make_server_leg_context(ca_file=roots, client_certificate=(path, None)), server, "srv.test")
    assert (ends.client_error, ends.server_error) == (None, None)
    shown = ends.server.getpeercert()
    assert shown
    assert shown["subjectAltName"] == (("email", "me@app.test"),)


def test_the_client_leg_hands_out_objects_that_know_their_name(authority: Authority) -> None:
    context = make_client_leg_context(authority, names=NAMES)
    assert isinstance(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True), ClientLegObject)
