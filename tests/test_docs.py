"""The documentation is true: links lead somewhere, tables are the code's, and the README's commands work.

Blocks of README.md marked `sh start` are started and stay; those marked `sh run` run after them, in order. A
block marked `sh serve` is started then, and what is marked `sh then` must make it end well.
"""

import base64
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import AuthResult

import smtpproxy
from tests.programs import program

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[bcr]*/README.md")])
PATIENCE_S = 60


def headings(page: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text())
    for target, anchor in links:
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in headings(file), f"{target}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [
        page.name
        for page in ROOT.glob("docs/*.md")
        if page.name != "README.md" and f"({page.name})" not in index
    ]
    assert missing == []


def test_rendered_parts_are_what_the_code_says() -> None:
    check = [sys.executable, ROOT / "tools" / "render_docs.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda page: page.name)
def test_a_decision_fits_on_a_page(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 30


def test_flags_in_the_docs_exist() -> None:
    told = {
        flag
        for page in PAGES
        for flag in re.findall(r"smtpproxy [a-z]+[^\n`]*?(--[a-z-]+)", page.read_text())
    }
    commands = ["run", "watch", "sessions", "show", "export", "import", "replay", "mock", "ca", "trust"]
    known = "".join(
        subprocess.run(
            [sys.executable, "-m", "smtpproxy", command, "--help"],
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        ).stdout
        for command in commands
    )
    assert {flag for flag in told if flag not in known} == set()


def environment(**more: str | Path) -> dict[str, str]:
    """The tests' own, such that `python -m smtpproxy` is the package under test whatever the folder."""
    package = str(Path(smtpproxy.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": package, **{name: str(value) for name, value in more.items()}}


def blocks(page: Path, mark: str) -> list[str]:
    """The shell blocks of a page with that mark behind the language."""
    return re.findall(rf"^```sh {mark}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """aiosmtpd as smtp.example.com with STARTTLS: its port, and who signed its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "provider-ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("smtp.example.com").configure_cert(context)
    controller = Controller(
        Sink(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        server_hostname="smtp.example.com",
        ident="ESMTP",
        authenticator=lambda *_: AuthResult(success=True),
    )
    controller.start()
    yield controller.port, tmp_path / "provider-ca.pem"
    controller.stop()


def masked(line: str) -> str:
    """A line of a transcript without what differs each time: tag, times, ids, addresses, sizes."""
    line = re.sub(r"^\[\w+\]\s+\d+\.\d{3} ", "", line)
    line = re.sub(r"session \w+: [\d.:]+", "session", line)
    return re.sub(r"EHLO \S+|\d+ octets|\d+\.\d+ s\b", "", line)


def follows(shown: list[str], real: list[str]) -> str | None:
    """The first line shown that does not come in the real transcript, in order; `…` stands for any text."""
    rest = iter(real)
    for line in shown:
        pattern = re.compile(".*".join(re.escape(part) for part in masked(line).split("…")))
        if line != "…" and not any(pattern.fullmatch(masked(candidate)) for candidate in rest):
            return line
    return None


def header_of(process: "subprocess.Popen[str]") -> str:
    """What a command says before it is ready: all up to an empty line."""
    said = ""
    assert process.stdout
    while (line := process.stdout.readline()) not in ("\n", ""):
        said += line
    return said


def test_the_readmes_commands_work(provider: tuple[int, Path], tmp_path: Path) -> None:
    program("swaks")
    port = str(free_port())
    command = tmp_path / "bin" / "smtpproxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m smtpproxy "$@"\n')
    command.chmod(0o755)
    here = environment(
        PATH=f"{command.parent}:{os.environ['PATH']}",
        SMTPPROXY_STORE=tmp_path / "store" / "recordings.db",
        SMTPPROXY_CERTS=tmp_path / "certs",
        SMTPPROXY_WEB="127.0.0.1:0",
        SMTPPROXY_CONNECT_TO=f"127.0.0.1:{provider[0]}",
        SMTPPROXY_UPSTREAM_CA=provider[1],
    )
    (start,) = blocks(ROOT / "README.md", "start")
    script = "".join(blocks(ROOT / "README.md", "run")).replace("1025", port)
    with subprocess.Popen(
        ["sh", "-c", f"exec {start.replace('1025', port)}"],
        env=here,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as proxy:
        assert proxy.stdout
        said = header_of(proxy)
        assert f"smtp://127.0.0.1:{port} -> smtp+starttls://smtp.example.com:587" in said
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=here,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        proxy.send_signal(signal.SIGTERM)
        transcript = proxy.stdout.read()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Subject: Hello" in done.stdout
    (shown,) = re.findall(
        r"^```text\n(\[.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert follows(shown.splitlines(), transcript.splitlines()) is None, transcript
    # Neither as it was typed nor as it went over the wire.
    assert not re.search(
        "s3cret|" + base64.b64encode(b"\0app\0s3cret").decode(),
        transcript + done.stdout.partition("=== session")[2],
    )
    assert (tmp_path / "bug.smtp.jsonl").read_text().startswith('{"kind":"session"')
    assert proxy.returncode == 0
    assert "1 session, 1 same, 10 steps played" in done.stdout
    serve_and_then(here, tmp_path)


def serve_and_then(here: dict[str, str], folder: Path) -> None:
    """The mock of what was recorded, and the client that must satisfy it."""
    port = str(free_port())
    (serve,) = blocks(ROOT / "README.md", "serve")
    (then,) = blocks(ROOT / "README.md", "then")
    with subprocess.Popen(
        ["sh", "-c", f"exec {serve.replace('2525', port)}"],
        env=here,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as mock:
        assert f"smtp://127.0.0.1:{port} -> the mock" in header_of(mock)
        app = subprocess.run(
            ["sh", "-c", then.replace("2525", port)],
            env=here,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert app.returncode == 0, app.stdout + app.stderr
        assert mock.stdout
        report = mock.stdout.read()
    assert mock.returncode == 0, report
