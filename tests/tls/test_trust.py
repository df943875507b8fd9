import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpproxy.tls.authority import Authority
from smtpproxy.tls.contexts import make_client_leg_context
from smtpproxy.tls.roots import find_system_bundle, read_certificates
from smtpproxy.tls.trust import find_lines, trust_lines, write_bundle
from tests.programs import program
from tests.tls.ends import serve_smtps


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority in a folder whose name a shell must be told about."""
    return Authority.create(Path(tmp_path_factory.mktemp("trust")) / "it's a folder")


@pytest.fixture(scope="module")
def bundle(placed: Authority) -> Path:
    return write_bundle(placed, placed.folder / "bundle.pem")


@pytest.fixture(scope="module")
def port(placed: Authority) -> Iterator[int]:
    with serve_smtps(make_client_leg_context(placed, names=["localhost", "127.0.0.1"])) as port:
        yield port


def line_for(language: str, placed: Authority, bundle: Path) -> str:
    (line,) = find_lines(trust_lines(bundle=bundle, ca=placed.certificate_path), language)
    return line.line


def shell(script: str, *, succeeds: bool) -> str:
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "JAVA_HOME") if key in os.environ}
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_bundle_is_the_systems_roots_and_ours(placed: Authority, bundle: Path) -> None:
    system = find_system_bundle()
    roots = read_certificates(system) if system else []
    ours = placed.certificate_pem.strip()
    assert read_certificates(bundle) == [*roots, ours]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    assert len(context.get_ca_certs()) == len(roots) + 1


def test_writing_it_again_adds_nothing_even_where_ssl_cert_file_is_the_bundle(
    placed: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle(placed, tmp_path / "bundle.pem")
    first = path.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert write_bundle(placed, path).read_bytes() == first

    # A new authority leaves nothing of the old one in it.
    other = Authority.create(tmp_path / "other")
    assert placed.certificate_pem.strip() not in read_certificates(write_bundle(other, path))


def test_the_bundle_keeps_the_roots_of_the_operators_own_ssl_cert_file(
    placed: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corporate = Authority.create(tmp_path / "corporate")
    monkeypatch.setenv("SSL_CERT_FILE", str(corporate.certificate_path))
    assert read_certificates(write_bundle(placed, tmp_path / "bundle.pem")) == [
        corporate.certificate_pem.strip(),
        placed.certificate_pem.strip(),
    ]


@pytest.mark.parametrize(
    ("written", "language"),
    [
        ("python", "Python"),
        ("node", "Node.js"),
        ("NodeJS", "Node.js"),
        (".net", ".NET"),
        ("dotnet", ".NET"),
        ("golang", "Go"),
        ("OPENSSL", "OpenSSL"),
    ],
)
def test_a_language_is_found_however_it_is_written(
    written: str, language: str, placed: Authority, bundle: Path
) -> None:
    lines = trust_lines(bundle=bundle, ca=placed.certificate_path)
    assert [line.language for line in find_lines(lines, written)] == [language]


def test_there_is_no_line_for_what_is_not_known(placed: Authority, bundle: Path) -> None:
    assert find_lines(trust_lines(bundle=bundle, ca=placed.certificate_path), "cobol") == ()


# The very lines that are printed, run by a shell, before the very program.


def test_pythons_line(placed: Authority, bundle: Path, port: int) -> None:
    (placed.folder / "app.py").write_text(
        "import smtplib, ssl\n"
        f"with smtplib.SMTP_SSL('localhost', {port}, context=ssl.create_default_context()) as server:\n"
        "    print(server.noop())\n"
    )
    app = f"{sys.executable} '{placed.folder / 'app.py'!s}'".replace("it's", "it'\\''s")
    assert "CERTIFICATE_VERIFY_FAILED" in shell(app, succeeds=False)
    assert "(250, b'ok')" in shell(f"{line_for('python', placed, bundle)}; {app}", succeeds=True)


def test_curls_line(placed: Authority, bundle: Path, port: int) -> None:
    app = f"{program('curl')} -sS -v smtps://localhost:{port}/app --request NOOP"
    assert "certificate" in shell(app, succeeds=False)
    shell(f"{line_for('curl', placed, bundle)}; {app}", succeeds=True)


def test_openssls_line(placed: Authority, bundle: Path, port: int) -> None:
    program("openssl")
    line = line_for("openssl", placed, bundle)
    implicit = line.replace("-starttls smtp", "-verify_hostname localhost -x509_strict").replace(
        "1025", str(port)
    )
    assert "Verify return code: 0 (ok)" in shell(f"echo QUIT | {implicit}", succeeds=True)
    other = Authority.create(placed.folder / "other").certificate_path
    distrusting = implicit.split("-CAfile ")[0] + f'-CAfile "{other}" ' + implicit.split("ca.pem' ")[-1]
    assert "verify error" in shell(f"echo QUIT | {distrusting}", succeeds=False)


def test_msmtps_line(placed: Authority, bundle: Path, port: int) -> None:
    program("msmtp")
    options = f" --host=localhost --port={port} --tls-starttls=off --serverinfo"
    line = line_for("msmtp", placed, bundle).split(" --host")[0]
    assert "here ESMTP" in shell(line + options, succeeds=True)
    assert "certificate" in shell("msmtp --tls=on" + options, succeeds=False)


def test_swakss_line(placed: Authority, bundle: Path, port: int) -> None:
    program("swaks")
    line = line_for("swaks", placed, bundle).replace("--tls ", "--tls-on-connect ").replace("1025", str(port))
    assert "here ESMTP" in shell(f"{line} --quit-after FIRST-HELO --from app@example.com", succeeds=True)
    untrusting = "swaks --tls-on-connect --tls-verify --to you@example.com --server 127.0.0.1"
    assert "TLS" in shell(f"{untrusting} --port {port} --quit-after FIRST-HELO", succeeds=False)
