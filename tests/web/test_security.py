"""Who is answered: Host, Origin and token, on every request; and what every answer tells the browser."""

from pathlib import Path

import pytest

from smtpproxy.web.security import Access, Head
from smtpproxy.web.sockets import WebAddress
from tests.conversation import delivery
from tests.web.stage import web_port

LOOPBACK = Access(WebAddress(host="127.0.0.1", port=8025))
OWN = "http://127.0.0.1:8025"


def head(host: str | None = "127.0.0.1:8025", method: str = "GET", path: str = "/", **more: str) -> Head:
    fields = {**({} if host is None else {"host": host}), **more}
    is_upgrade = fields.pop("is_upgrade", "")
    local = fields.pop("local", "127.0.0.1")
    return Head(
        method=method.encode(),
        path=path,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
        local=local,
        is_upgrade=bool(is_upgrade),
    )


def code(access: Access, asked: Head) -> str:
    refusal = access.refusal(asked)
    return "" if refusal is None else refusal.code


@pytest.mark.parametrize("host", ["127.0.0.1:8025", "localhost:8025", "LOCALHOST:8025", "[::1]:8025"])
def test_our_own_names(host: str) -> None:
    assert code(LOOPBACK, head(host)) == ""


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost:8025.",
        "localhost.:8025",
        "evil.example:8025",
        "127.0.0.1.evil.example:8025",
        "localhost.evil.example:8025",
        "127.0.0.1:8025.evil.example",
        "127.0.0.1:8025@evil.example",
        "0.0.0.0:8025",
        "127.1:8025",
        "2130706433:8025",
        "[::ffff:127.0.0.1]:8025",
        "127.0.0.1:8025 ",
        "\u00fflocalhost:8025",
    ],
)
def test_names_that_are_not_ours(host: str | None) -> None:
    assert code(LOOPBACK, head(host)) == "bad-host"


def test_two_hosts_are_none() -> None:
    twice = Head(method=b"GET", path="/", headers=[(b"host", b"127.0.0.1:8025")] * 2, local="127.0.0.1")
    assert code(LOOPBACK, twice) == "bad-host"


@pytest.mark.parametrize(
    ("host", "local", "expected"),
    [
        ("192.0.2.7:8025", "192.0.2.7", ""),
        ("192.0.2.7:8025", "::ffff:192.0.2.7", ""),
        ("[2001:db8::7]:8025", "2001:db8::7", ""),
        ("localhost:8025", "127.0.0.1", ""),
        ("192.0.2.8:8025", "192.0.2.7", "bad-host"),
        ("evil.example:8025", "192.0.2.7", "bad-host"),
        ("0.0.0.0:8025", "192.0.2.7", "bad-host"),
    ],
)
def test_bound_to_every_address(host: str, local: str, expected: str) -> None:
    access = Access(WebAddress(host="0.0.0.0", port=8025))
    assert code(access, head(host, local=local)) == expected


def test_names_that_were_allowed() -> None:
    access = Access(WebAddress(host="127.0.0.1", port=8025), names=("mail.example.com", "localhost:8080"))
    for host in ("mail.example.com", "mail.example.com:8025", "localhost:8080", "localhost:8025"):
        assert code(access, head(host)) == ""
    for host in ("mail.example.com:80", "www.mail.example.com", "localhost", "127.0.0.1:8080"):
        assert code(access, head(host)) == "bad-host"


@pytest.mark.parametrize(
    ("method", "origin", "expected"),
    [
        ("GET", None, ""),
        ("GET", "http://evil.example", ""),  # no answer of ours can be read from there
        ("DELETE", OWN, ""),
        ("DELETE", "https://127.0.0.1:8025", ""),
        ("DELETE", None, "bad-origin"),
        ("DELETE", "null", "bad-origin"),
        ("DELETE", "http://evil.example", "bad-origin"),
        ("DELETE", "http://127.0.0.1:8026", "bad-origin"),
        ("DELETE", "http://localhost:8025", "bad-origin"),
        ("DELETE", OWN + ".evil.example", "bad-origin"),
        ("DELETE", OWN + "/", "bad-origin"),
        ("POST", None, "bad-origin"),
        ("PUT", "http://evil.example", "bad-origin"),
    ],
)
def test_where_requests_come_from(method: str, origin: str | None, expected: str) -> None:
    more = {} if origin is None else {"origin": origin}
    assert code(LOOPBACK, head(method=method, **more)) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, ""),
        (OWN, ""),
        ("null", "bad-origin"),
        ("http://evil.example", "bad-origin"),
        ("http://127.0.0.1:1234", "bad-origin"),
        ("http://localhost:8025", "bad-origin"),
        ("", "bad-origin"),
        ("file://", "bad-origin"),
        ("chrome-extension://abcdef", "bad-origin"),
    ],
)
def test_where_websockets_come_from(origin: str | None, expected: str) -> None:
    more = {} if origin is None else {"origin": origin}
    assert code(LOOPBACK, head(path="/live", is_upgrade="yes", **more)) == expected


TOKEN = "correct-horse-battery"
GUARDED = Access(WebAddress(host="192.0.2.7", port=8025), token=TOKEN)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "no-token"),
        ({"authorization": f"Bearer {TOKEN}"}, ""),
        ({"authorization": f"bearer  {TOKEN} "}, ""),
        ({"authorization": f"Bearer {TOKEN}x"}, "no-token"),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, "no-token"),
        ({"authorization": "Bearer "}, "no-token"),
        ({"authorization": f"Basic {TOKEN}"}, "no-token"),
        ({"authorization": TOKEN}, "no-token"),
        ({"authorization": "Bearer \u00ff"}, "no-token"),
        ({"cookie": f"{GUARDED.cookie_name}={GUARDED.cookie_value}"}, ""),
        ({"cookie": f"a=b; {GUARDED.cookie_name}={GUARDED.cookie_value}; c=d"}, ""),
        ({"cookie": f"{GUARDED.cookie_name}={TOKEN}"}, "no-token"),
        ({"cookie": f"{GUARDED.cookie_name}="}, "no-token"),
        ({"cookie": f"other={GUARDED.cookie_value}"}, "no-token"),
        ({"accept": "text/html,*/*"}, "login"),
        ({"accept": "text/html", "is_upgrade": "yes"}, "no-token"),
    ],
)
def test_off_loopback_a_token_is_needed(more: dict[str, str], expected: str) -> None:
    assert code(GUARDED, head("192.0.2.7:8025", path="/live", **more)) == expected


@pytest.mark.parametrize("path", ["/login", "/livez", "/readyz"])
def test_these_tell_nothing_and_need_no_token(path: str) -> None:
    assert code(GUARDED, head("192.0.2.7:8025", path=path)) == ""
    assert code(GUARDED, head("evil.example:8025", path=path)) == "bad-host"


async def test_dns_rebinding_reads_nothing_on_any_request(tmp_path: Path) -> None:
    good = b"GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n"
    bad = b"GET /api/v1/sessions HTTP/1.1\r\nHost: evil.example:8025\r\nConnection: close\r\n\r\n"
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        # The second request on a connection whose first was fine.
        answers = await stage.ask(good % stage.host.encode() + bad)
    assert answers.count(b"HTTP/1.1 200") == 1
    assert answers.count(b"HTTP/1.1 403") == 1
    assert b"01A" not in answers


@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://evil.example:8025"])
async def test_a_page_from_elsewhere_gets_no_websocket(tmp_path: Path, origin: bytes) -> None:
    async with web_port(tmp_path) as stage:
        status, text = await stage.answer(stage.upgrade(Origin=origin))
        assert status == 403
        assert "smtpproxy's own page" in text
        assert (await stage.answer(stage.upgrade(Host=b"evil.example:8025")))[0] == 403
        assert (await stage.answer(stage.upgrade(Origin=stage.url.encode())))[0] == 101


async def test_a_page_from_elsewhere_deletes_nothing(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        async with stage.client(headers={"Origin": "http://evil.example"}) as client:
            assert (await client.delete("/api/v1/sessions/01A")).status_code == 403
            assert (await client.get("/api/v1/sessions/01A")).status_code == 200
            preflight = await client.options(
                "/api/v1/sessions/01A", headers={"Access-Control-Request-Method": "DELETE"}
            )
    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_logging_in(tmp_path: Path) -> None:
    async with web_port(tmp_path, token=TOKEN) as stage, stage.client() as client:
        page = await client.get("/", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert 'name="token"' in (await client.get("/login")).text
        assert (await client.post("/login", data={"token": "wrong"})).status_code == 401
        assert (await client.post("/login", content=b"a&" * 20)).status_code == 401
        assert stage.reported == []
        elsewhere = await client.post(
            "/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}
        )
        assert elsewhere.status_code == 403
        done = await client.post("/login", data={"token": TOKEN})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert (await client.get("/api/v1/sessions")).status_code == 200  # httpx sends the cookie back


async def test_a_token_for_programs(tmp_path: Path) -> None:
    async with web_port(tmp_path, token=TOKEN) as stage:
        refused = await stage.get("/api/v1/sessions")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await stage.get("/api/v1/sessions", headers=bearer)).status_code == 200
        assert (await stage.get("/metrics", headers=bearer)).status_code == 200
        assert (await stage.answer(stage.upgrade()))[0] == 401
        assert (await stage.answer(stage.upgrade(Authorization=f"Bearer {TOKEN}".encode())))[0] == 101


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/api/v1/sessions", 200),
        ("/nothing", 404),
        ("/live", 426),
        ("/api/v1/sessions?limit=x", 400),
    ],
)
async def test_every_answer_says_what_browsers_may_do(tmp_path: Path, path: str, status: int) -> None:
    async with web_port(tmp_path) as stage:
        answer = await stage.get(path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]
