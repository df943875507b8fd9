"""Every client through the proxy to every server, in every combination of plain, STARTTLS and implicit TLS.

For each: the client succeeds, the server stores what was sent, and both programs' own logs agree with the
recording. One proxy with a route for each pair of legs serves them all.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.clients import ADDED, CLIENTS, Log, Mail
from tests.real.conftest import ALICE, message_with
from tests.real.proxy import Proxy, run_proxy, smtpproxy
from tests.real.recorded import Recorded, leaks
from tests.real.servers import AiosmtpdServer, PostfixServer, Server, SinkServer


@dataclass(frozen=True, kw_only=True)
class Legs:
    """A combination of both legs.

    Attributes:
        client: how the client starts TLS: plain, starttls, implicit.
        upstream: the upstream URL's scheme, or sandbox.
        port: which of the server's ports it leads to.
        expected: whether the client leg and the server leg are TLS in the end.
    """

    client: str
    upstream: str
    port: str
    expected: tuple[bool, bool]

    @property
    def listen(self) -> str:
        """The listen URL's scheme."""
        return "smtps" if self.client == "implicit" else "smtp"

    def __str__(self) -> str:
        return f"{self.client}-to-{self.upstream}-{self.port}"


LEGS = [
    # in step: STARTTLS on both legs or on none
    Legs(client="plain", upstream="smtp", port="plain", expected=(False, False)),
    Legs(client="plain", upstream="smtp", port="starttls", expected=(False, False)),
    Legs(client="starttls", upstream="smtp", port="starttls", expected=(True, True)),
    # the proxy upgrades the server leg, and offers the client STARTTLS by itself
    Legs(client="plain", upstream="smtp+starttls", port="starttls", expected=(False, True)),
    Legs(client="starttls", upstream="smtp+starttls", port="starttls", expected=(True, True)),
    Legs(client="plain", upstream="smtps", port="implicit", expected=(False, True)),
    Legs(client="starttls", upstream="smtps", port="implicit", expected=(True, True)),
    # implicit TLS towards the client
    Legs(client="implicit", upstream="smtp", port="plain", expected=(True, False)),
    Legs(client="implicit", upstream="smtp", port="starttls", expected=(True, False)),
    Legs(client="implicit", upstream="smtp+starttls", port="starttls", expected=(True, True)),
    Legs(client="implicit", upstream="smtps", port="implicit", expected=(True, True)),
]
SANDBOX_LEGS = [
    Legs(client="plain", upstream="sandbox", port="", expected=(False, False)),
    Legs(client="starttls", upstream="sandbox", port="", expected=(True, False)),
    Legs(client="implicit", upstream="sandbox", port="", expected=(True, False)),
]


def cells() -> Iterator[object]:
    """(client, server, legs) of every combination that both programs can do."""
    for client in CLIENTS:
        for server in ("postfix", "aiosmtpd", "sink", "sandbox"):
            for legs in SANDBOX_LEGS if server == "sandbox" else LEGS:
                if client == "smtp-source" and legs.client != "plain":
                    continue
                if server == "sink" and legs.port != "plain":
                    continue
                yield pytest.param(client, server, legs, id=f"{client}-{server}-{legs}")


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One proxy with a route to every server in every way."""

    proxy: Proxy
    servers: dict[str, Server]
    urls: dict[tuple[str, str, str, str], str]

    def url(self, server: str, legs: Legs) -> str:
        """Where the client must connect."""
        return self.urls[server, legs.listen, legs.upstream, legs.port]


@pytest.fixture(scope="module")
def matrix(
    postfix: PostfixServer,
    aiosmtpd: AiosmtpdServer,
    sink: SinkServer,
    server_ca: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Matrix]:
    """The proxy, started once."""
    servers: dict[str, Server] = {"postfix": postfix, "aiosmtpd": aiosmtpd, "sink": sink}
    keys: list[tuple[str, str, str, str]] = []
    routes: list[tuple[str, str | None]] = []
    for name in (*servers, "sandbox"):
        for legs in SANDBOX_LEGS if name == "sandbox" else LEGS:
            key = (name, legs.listen, legs.upstream, legs.port)
            if key in keys or (name == "sink" and legs.port != "plain"):
                continue
            keys.append(key)
            upstream = None
            if name != "sandbox":
                upstream = f"{legs.upstream}://localhost:{servers[name].ports[legs.port]}"
            routes.append((f"{legs.listen}://127.0.0.1:0", upstream))
    folder = tmp_path_factory.mktemp("matrix")
    with run_proxy(folder, *routes, upstream_ca=server_ca) as proxy:
        assert len(proxy.listen) == len(routes)
        yield Matrix(proxy=proxy, servers=servers, urls=dict(zip(keys, proxy.listen, strict=True)))


@pytest.mark.parametrize(("client", "server", "legs"), list(cells()))
def test_mail_goes_through_and_all_accounts_of_it_agree(
    matrix: Matrix, client: str, server: str, legs: Legs, tmp_path: Path
) -> None:
    marker = tmp_path.name.encode()
    message = message_with(marker)
    has_auth = client != "smtp-source" and server != "sink"
    before = matrix.proxy.mark()
    if server != "sandbox":
        matrix.servers[server].mark(legs.port)

    log = CLIENTS[client](
        Mail(
            url=matrix.url(server, legs),
            tls=legs.client,
            ca=matrix.proxy.ca,
            message=message,
            folder=tmp_path,
            account=ALICE if has_auth else None,
            # Left to itself, msmtp sends no password in clear.
            mechanism="PLAIN" if client == "msmtp" else "",
        )
    )

    assert log.status == 0, log.text
    session = matrix.proxy.session(before)
    assert session.outcome == "delivered", session
    assert session.content() == message + ADDED.get(client, b"")
    assert (bool(session.tls("client")), bool(session.tls("server"))) == legs.expected
    assert all(tls["version"].startswith("TLSv1.") for tls in session.of("tls"))
    agree_with_client(session, log)
    if server != "sandbox":
        assert session.content().replace(b"\r\n", b"\n") in matrix.servers[server].stored(marker)
        said_to_server = Counter(session.verbs(to="server"))
        assert said_to_server == matrix.servers[server].commands(legs.port)
    assert "AUTH" in session.verbs() or not has_auth


@pytest.mark.parametrize("legs", LEGS, ids=str)
def test_pipelining_goes_through_on_every_pair_of_legs(matrix: Matrix, legs: Legs, tmp_path: Path) -> None:
    marker = tmp_path.name.encode()
    before = matrix.proxy.mark()

    log = CLIENTS["swaks"](
        Mail(
            url=matrix.url("postfix", legs),
            tls=legs.client,
            ca=matrix.proxy.ca,
            message=message_with(marker),
            folder=tmp_path,
            recipients=("bob@example.test", "carol@example.test"),
            options=["--pipeline"],
        )
    )

    assert log.status == 0, log.text
    session = matrix.proxy.session(before)
    assert session.outcome == "delivered"
    sent_together = [event for event in session.of("command") if event["verb"] in ("MAIL", "RCPT", "DATA")]
    assert [event["verb"] for event in sent_together] == ["MAIL", "RCPT", "RCPT", "DATA"]
    assert len({event["group"] for event in sent_together}) == 1
    assert message_with(marker).replace(b"\r\n", b"\n") in matrix.servers["postfix"].stored(marker)


def agree_with_client(session: Recorded, log: Log) -> None:
    """The client's own account of the session is what was recorded of its leg."""
    if not log.commands:  # smtp-source tells nothing
        return
    assert session.codes(to="client")[: len(log.codes)] == log.codes
    recorded = [event for event in session.of("command", "auth") if event["from"] == "client"]
    # curl does not log its QUIT.
    assert len(recorded) - len(log.commands) == (1 if log.commands[-1] == "DATA" else 0)
    for event, said in zip(recorded, log.commands, strict=False):
        if "redacted" not in event:
            assert event["raw"] == said + "\r\n"
        elif event["kind"] == "command":
            assert said.startswith(event["raw"].partition("{{secret}}")[0].rstrip())


def test_every_session_stands_in_the_store_as_it_was_printed(matrix: Matrix, tmp_path: Path) -> None:
    printed = [json.loads(line) for line in matrix.proxy.lines]
    assert printed, "the tests above have run"
    for event in printed:
        assert event.pop("seq") > 0
    file = tmp_path / "all.smtp.jsonl"

    smtpproxy("export", "--all", "--store", matrix.proxy.store, "-o", file)

    stored = [json.loads(line) for line in file.read_text().splitlines()]
    key = lambda event: (event["session"], event["n"])  # noqa: E731
    assert sorted(stored, key=key) == sorted(printed, key=key)
    for session in {event["session"] for event in stored}:
        numbers = [event["n"] for event in stored if event["session"] == session]
        assert numbers == list(range(len(numbers)))


def test_show_gives_the_latest_session(matrix: Matrix) -> None:
    latest = json.loads(matrix.proxy.lines[-1])["session"]
    shown = matrix.proxy.show()
    assert shown.id == latest
    assert shown.is_over


def test_no_password_is_anywhere_in_what_was_written(matrix: Matrix) -> None:
    assert any('"verb":"AUTH"' in line for line in matrix.proxy.lines), "the tests above have run"
    assert leaks(matrix.proxy.folder, ALICE[1]) == []
    assert not any(ALICE[1] in line for line in matrix.proxy.lines)
