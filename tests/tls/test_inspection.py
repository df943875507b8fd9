import hashlib
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.tls.advice import ADVICE, advice_for
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.certificates import parse_certificate
from smtpproxy.tls.contexts import make_client_leg_context, make_server_leg_context, sni_of
from smtpproxy.tls.inspection import failure_of, info_of
from tests.tls.ends import Ends, shake, shake_with

HOST = "srv.test"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def provider() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def provider_file(provider: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("provider")) / "provider.pem"
    provider.cert_pem.write_to_path(str(path))
    return path


def server_with(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_that_stands_on_the_servers_leg(
    version: ssl.TLSVersion, provider: trustme.CA, provider_file: Path
) -> None:
    leaf = provider.issue_cert(HOST, "127.0.0.1")
    server = server_with(leaf)
    server.maximum_version = version
    server.set_alpn_protocols(["smtp"])
    client = make_server_leg_context(ca_file=provider_file)
    client.set_alpn_protocols(["smtp"])
    ends = shake(client, server, HOST)
    info = info_of(ends.client, leg="server", sni=HOST, is_verified=True)
    assert (info.version, info.sni, info.alpn) == (version.name.replace("_", "."), HOST, "smtp")
    assert info.cipher == (ends.client.cipher() or [""])[0] != ""
    assert info.verified
    assert (info.error, info.alert, info.advice) == ("", "", "")
    first = info.certificates[0]
    assert first.names == [f"DNS:{HOST}", "IP:127.0.0.1"]
    assert first.pem.split() == leaf.cert_chain_pems[0].bytes().decode().split()
    assert first.sha256 == hashlib.sha256(ssl.PEM_cert_to_DER_cert(first.pem)).hexdigest()
    assert first.issuer.startswith("OU=Testing CA")
    assert first.not_after.endswith("Z")


def test_a_handshake_that_stands_on_the_clients_leg(authority: Authority) -> None:
    app = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    ends = shake(app, make_client_leg_context(authority, names=["127.0.0.1"]), "mail.test")
    info = info_of(ends.server, leg="client", sni=sni_of(ends.server), is_verified=False)
    assert (info.version, info.sni, info.certificates, info.verified) == ("TLSv1.3", "mail.test", [], False)


def test_an_unchecked_server_is_recorded_with_its_chain_and_not_as_verified() -> None:
    ends = shake(
        make_server_leg_context(is_insecure=True), server_with(trustme.CA().issue_cert("x.test")), HOST
    )
    info = info_of(ends.client, leg="server", sni=HOST, is_verified=False)
    assert not info.verified
    assert info.certificates[0].names == ["DNS:x.test"]


class Case(NamedTuple):
    """How a server's certificate is wrong, and what is said of it."""

    leaf: Callable[[trustme.CA], trustme.LeafCert]
    error: str
    alert: str
    advice: str


NOW = datetime.now(UTC)
"""One moment for all that is made and expected here: midnight may come in between."""


def days_from_now(days: int) -> datetime:
    return NOW + timedelta(days=days)


BAD_CERTIFICATES = {
    "untrusted": Case(
        lambda _: trustme.CA().issue_cert(HOST),
        "the certificate of srv.test is not good: unable to get local issuer certificate",
        "unknown_ca",
        "trust its issuer with --upstream-ca FILE",
    ),
    "name-mismatch": Case(
        lambda ca: ca.issue_cert("a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"),
        "Hostname mismatch, certificate is not valid for 'srv.test'",
        "bad_certificate",
        "the certificate is for a.test, b.test, c.test, d.test, e.test and 2 more: write one of these",
    ),
    "expired": Case(
        lambda ca: ca.issue_cert(HOST, not_before=days_from_now(-9), not_after=days_from_now(-2)),
        "certificate has expired",
        "certificate_expired",
        f"ended on {days_from_now(-2):%Y-%m-%dT}",
    ),
    "not-yet-valid": Case(
        lambda ca: ca.issue_cert(HOST, not_before=days_from_now(3), not_after=days_from_now(9)),
        "certificate is not yet valid",
        "bad_certificate",
        f"begins on {days_from_now(3):%Y-%m-%dT}",
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", BAD_CERTIFICATES.values(), ids=BAD_CERTIFICATES)
def test_a_certificate_that_is_not_good(
    case: Case, version: ssl.TLSVersion, provider: trustme.CA, provider_file: Path
) -> None:
    server = server_with(case.leaf(provider))
    server.maximum_version = version
    ends = shake(make_server_leg_context(ca_file=provider_file), server, HOST)
    assert ends.client_error
    info = failure_of(ends.client_error, leg="server", ssl_object=ends.client, sni=HOST, host=HOST)
    assert case.error in info.error
    assert case.advice in info.advice
    assert info.alert == case.alert
    assert info.sni == HOST
    assert not info.verified
    leaf = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(info.certificates[0].pem))
    assert leaf == info.certificates[0].pem

    # What we say was sent is what the peer got.
    assert ends.server_error
    theirs = failure_of(ends.server_error, leg="client", ssl_object=ends.server, sni="", host="")
    assert theirs.alert == case.alert
    assert theirs.error == f"the app refused TLS with the alert {case.alert}"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_app_that_does_not_trust_us(authority: Authority, version: ssl.TLSVersion) -> None:
    app = ssl.create_default_context(cadata=trustme.CA().cert_pem.bytes().decode())
    app.maximum_version = version
    ends = shake(app, make_client_leg_context(authority, names=["127.0.0.1"]), "mail.test")
    assert ends.server_error
    info = failure_of(
        ends.server_error, leg="client", ssl_object=ends.server, sni=sni_of(ends.server), host=""
    )
    assert info.error == "the app refused TLS with the alert unknown_ca"
    assert info.alert == "unknown_ca"
    assert info.advice.startswith("the app does not trust smtpproxy's CA: run smtpproxy trust")
    assert info.sni == "mail.test"


def ends_that_share_no_version(provider: trustme.CA) -> Ends:
    server = server_with(provider.issue_cert(HOST))
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client = make_server_leg_context(is_insecure=True)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    return shake(client, server, HOST)


def ends_that_share_no_cipher(provider: trustme.CA) -> Ends:
    server = server_with(provider.issue_cert(HOST))
    server.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    return shake(make_server_leg_context(is_insecure=True), server, HOST)


@pytest.mark.parametrize(
    ("shaken", "alert", "advice"),
    [
        (ends_that_share_no_version, "protocol_version", ("--tls-min", "--upstream-tls-min")),
        (ends_that_share_no_cipher, "handshake_failure", ("--tls-ciphers", "--upstream-tls-ciphers")),
    ],
)
def test_ends_that_cannot_agree(
    shaken: Callable[[trustme.CA], Ends], alert: str, advice: tuple[str, str], provider: trustme.CA
) -> None:
    ends = shaken(provider)
    assert ends.server_error
    assert ends.client_error
    ours = failure_of(ends.server_error, leg="client", ssl_object=ends.server, sni="", host="")
    theirs = failure_of(ends.client_error, leg="server", ssl_object=ends.client, sni="", host=HOST)
    assert ours.alert == theirs.alert == alert
    assert theirs.error == f"{HOST} refused TLS with the alert {alert}"
    assert advice[0] in ours.advice
    assert advice[1] in theirs.advice


def test_a_server_that_wants_a_client_certificate_says_so_after_the_handshake(
    provider: trustme.CA, provider_file: Path
) -> None:
    server = server_with(provider.issue_cert(HOST))
    server.verify_mode = ssl.CERT_REQUIRED
    ends = shake(make_server_leg_context(ca_file=provider_file), server, HOST)
    assert ends.client_error
    info = failure_of(ends.client_error, leg="server", ssl_object=ends.client, sni=HOST, host=HOST)
    assert info.alert == "certificate_required"
    assert "--upstream-cert" in info.advice
    assert info.certificates


def test_plain_text_where_tls_was_due(authority: Authority) -> None:
    context = make_client_leg_context(authority, names=["127.0.0.1"])
    for said in (b"EHLO app.example\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        error = shake_with(context, said, is_server=True)
        info = failure_of(error, leg="client", ssl_object=None, sni="", host="")
        assert info.error == "the app sent plain text where a TLS handshake was due"
        assert "use smtp:// in --listen" in info.advice

    error = shake_with(make_server_leg_context(), b"220 mx ESMTP\r\n", is_server=False)
    info = failure_of(error, leg="server", ssl_object=None, sni=HOST, host=HOST)
    assert info.error == "srv.test sent plain text where a TLS handshake was due"
    assert "smtp+starttls://" in info.advice


@pytest.mark.parametrize("error", ["eof", EOFError(), ConnectionResetError(104, "reset"), TimeoutError()])
def test_a_peer_that_says_nothing_more(error: Exception | str, authority: Authority) -> None:
    if isinstance(error, str):
        error = shake_with(make_client_leg_context(authority), b"", is_server=True, is_end=True)
    ours = failure_of(error, leg="client", ssl_object=None, sni="", host="")
    theirs = failure_of(error, leg="server", ssl_object=None, sni="", host=HOST)
    assert ours.error != theirs.error
    assert "the app" in ours.error
    assert HOST in theirs.error
    assert ours.advice != theirs.advice
    assert "None" not in ours.error + theirs.error


def test_an_error_of_another_kind_is_told_in_the_systems_words() -> None:
    info = failure_of(OSError(113, "No route to host"), leg="server", ssl_object=None, sni="", host=HOST)
    assert info.error == "the TLS handshake with srv.test failed: No route to host"
    assert info.advice == "see what srv.test itself logs about TLS"


def test_an_alert_that_python_has_no_name_for_is_read_from_its_words() -> None:
    error = ssl.SSLError(1, "[SSL] tlsv13 alert certificate required (_ssl.c:2580)")
    info = failure_of(error, leg="server", ssl_object=None, sni="", host=HOST)
    assert info.alert == "certificate_required"


def test_every_advice_can_be_filled_in_and_is_one_line() -> None:
    for leg, cause in ADVICE:
        text = advice_for(leg, cause, host=HOST, names="a.test")
        assert "{" not in text
        assert "\n" not in text
        assert "  " not in text


@given(st.binary(max_size=200))
def test_any_octets_that_a_peer_presents_are_recorded(der: bytes) -> None:
    found = parse_certificate(der)
    assert found.sha256 == hashlib.sha256(der).hexdigest()
    assert ssl.PEM_cert_to_DER_cert(found.pem) == der


def test_a_known_chain_costs_next_to_nothing(provider: trustme.CA, provider_file: Path) -> None:
    ends = shake(make_server_leg_context(ca_file=provider_file), server_with(provider.issue_cert(HOST)), HOST)
    best = float("inf")
    for _ in range(50):
        began = time.perf_counter()
        info_of(ends.client, leg="server", sni=HOST, is_verified=True)
        best = min(best, time.perf_counter() - began)
    print(f"info_of: {best * 1e6:.1f} us")
    assert best < 100e-6
