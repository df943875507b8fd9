import json
import ssl
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smtpproxy.cli.ca import ca
from smtpproxy.cli.trust import trust
from smtpproxy.errors import CertificateError, ConfigError
from smtpproxy.tls.authority import Authority


def run(command: object, *words: str, **environment: str) -> Result:
    done = CliRunner().invoke(command, words, env=environment)  # type: ignore[arg-type]
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_create_makes_it_once(tmp_path: Path) -> None:
    certs = str(tmp_path / "certs")
    made = run(ca, "create", "--certs", certs)
    assert (made.exit_code, "ca.pem is made" in made.stdout) == (0, True)
    assert stat.S_IMODE((tmp_path / "certs" / "ca.key").stat().st_mode) == 0o600
    first = Authority.load(tmp_path / "certs").sha256

    again = run(ca, "create", "--certs", certs)
    assert (again.exit_code, "is there already" in again.stdout, "--force" in again.stdout) == (0, True, True)
    assert Authority.load(tmp_path / "certs").sha256 == first

    assert run(ca, "create", "--certs", certs, "--force").exit_code == 0
    assert Authority.load(tmp_path / "certs").sha256 != first


def test_create_does_not_touch_half_an_authority(tmp_path: Path) -> None:
    Authority.create(tmp_path)
    (tmp_path / "ca.pem").unlink()
    key = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(CertificateError, match="--force"):
        run(ca, "create", "--certs", str(tmp_path))
    assert (tmp_path / "ca.key").read_bytes() == key


def test_show_says_the_same_to_people_and_programs(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    facts = json.loads(run(ca, "show", "--json", SMTPPROXY_CERTS=str(tmp_path)).stdout)
    assert facts["certificate"] == str(tmp_path / "ca.pem")
    assert facts["sha256"] == authority.sha256
    shown = run(ca, "show", "--certs", str(tmp_path)).stdout
    assert all(value in shown for value in facts.values())


def test_they_mean_the_folder_that_run_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    run(ca, "create")
    default = Authority.load(tmp_path / "config" / "smtpproxy" / "certs").sha256
    (tmp_path / "smtpproxy.toml").write_text('certs = "mine"\n')
    run(ca, "create")
    assert Authority.load(tmp_path / "mine").sha256 != default
    run(ca, "create", SMTPPROXY_CERTS=str(tmp_path / "variable"))
    assert (tmp_path / "variable" / "ca.pem").exists()
    (tmp_path / "smtpproxy.toml").write_text("certs = 7\n")
    with pytest.raises(ConfigError, match=r"looked up in smtpproxy\.toml: must be a path; --certs names it"):
        run(ca, "create")


def test_export_writes_the_certificate_and_nothing_of_the_key(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "certs")
    certs = str(tmp_path / "certs")
    pem = run(ca, "export", "--certs", certs).stdout_bytes
    assert pem.strip() == authority.certificate_pem.strip()
    der = tmp_path / "ca.crt"
    run(ca, "export", "--certs", certs, "--format", "der", "-o", str(der))
    assert der.read_bytes() == ssl.PEM_cert_to_DER_cert(pem.decode())


def test_without_an_authority_they_say_how_to_make_one(tmp_path: Path) -> None:
    for command in ("show", "export"):
        with pytest.raises(CertificateError, match="run smtpproxy ca create"):
            run(ca, command, "--certs", str(tmp_path))


def test_trust_of_one_language_is_a_line_for_a_shell(tmp_path: Path) -> None:
    done = run(trust, "python", "--certs", str(tmp_path / "certs"))
    bundle = tmp_path / "certs" / "bundle.pem"
    assert done.stdout == f"export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}\n"
    assert "smtplib" in done.stderr
    ours = Authority.load(tmp_path / "certs").certificate_pem
    assert ours.strip() in bundle.read_bytes()


def test_trust_shows_every_language(tmp_path: Path) -> None:
    certs, bundle = str(tmp_path / "certs"), tmp_path / "elsewhere.pem"
    facts = json.loads(run(trust, "--certs", certs, "--bundle", str(bundle), "--json").stdout)
    assert facts["bundle"] == str(bundle)
    assert bundle.exists()
    languages = [line["language"] for line in facts["lines"]]
    assert {"Python", "Node.js", "PHP", "Java", "Ruby", "Go", ".NET", "curl", "OpenSSL"} <= set(languages)
    shown = run(trust, "--certs", certs, "--bundle", str(bundle)).stdout
    assert all(line["line"] in shown and line["note"] in shown for line in facts["lines"])


def test_trust_of_an_unknown_language_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no line for 'cobol'; there is one for Python, Node\.js"):
        run(trust, "cobol", "--certs", str(tmp_path))
