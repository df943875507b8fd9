"""Flags over variables over smtpproxy.toml: what is asked for comes out, and mistakes are named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smtpproxy.config.checks import refuse_loops, warnings_of
from smtpproxy.config.load import load_config
from smtpproxy.config.model import Config
from smtpproxy.config.paths import default_certs, default_store
from smtpproxy.endpoints import parse_endpoint
from smtpproxy.errors import ConfigError


def load(
    folder: Path, *, env: Mapping[str, str] | None = None, config: str | None = None, **flags: Any
) -> Config:
    return load_config(flags=flags, environment=env or {}, folder=folder, config_file=config)


def ends(config: Config) -> list[tuple[str, str, str]]:
    return [(route.name, str(route.listen), str(route.upstream)) for route in config.routes]


def test_nothing_said_is_the_sandbox_on_1025(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert ends(config) == [("default", "smtp://127.0.0.1:1025", "sandbox:")]
    assert (config.store, config.certs) == (default_store(), default_certs())
    assert config.limits.max_sessions == 1000
    assert config.retention.octets == 2 * 1024**3


def test_pairs_on_the_command_line_are_routes_in_order(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        listen=("smtp://127.0.0.1:0", "smtps://127.0.0.1:0"),
        upstream=("smtp+starttls://mail.example.com", "sandbox:"),
    )
    assert ends(config) == [
        ("default", "smtp://127.0.0.1:0", "smtp+starttls://mail.example.com:587"),
        ("route-2", "smtps://127.0.0.1:0", "sandbox:"),
    ]


def test_flag_beats_variable_beats_file(tmp_path: Path) -> None:
    (tmp_path / "smtpproxy.toml").write_text("max_sessions = 1\nbodies = 'headers'\nidle_timeout = '2m'\n")
    config = load(
        tmp_path, env={"SMTPPROXY_MAX_SESSIONS": "2", "SMTPPROXY_BODIES": "digest"}, max_sessions="3"
    )
    assert config.limits.max_sessions == 3
    assert config.bodies == "digest"
    assert config.limits.idle_timeout_s == 120


def test_a_variable_turns_off_what_the_file_turns_on_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "smtpproxy.toml").write_text("json = true\nquiet = true\n")
    config = load(tmp_path, env={"SMTPPROXY_JSON": "no", "SMTPPROXY_QUIET": ""})
    assert (config.is_json, config.is_quiet) == (False, True)


def test_route_tables_take_the_top_of_the_file_for_default(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mail.toml").write_text(
        """
        upstream_ca = "roots.pem"
        store = "mail.db"
        ehlo = { XCLIENT = "pass", DSN = "hide" }

        [[route]]
        name = "postmark"
        listen = "smtp://127.0.0.1:2525"
        upstream = "smtp+starttls://smtp.postmarkapp.com"
        ehlo = { dsn = "pass" }

        [[route]]
        listen = "smtps://127.0.0.1:2465"
        upstream = "smtps://smtp.example.com"
        upstream_ca = "own.pem"
        tls_min = 1.3
        """
    )
    config = load(tmp_path, config="conf/mail.toml", ehlo=("SIZE=hide",))
    folder = tmp_path / "conf"
    assert [route.name for route in config.routes] == ["postmark", "route-2"]
    assert [route.upstream_ca for route in config.routes] == [folder / "roots.pem", folder / "own.pem"]
    assert config.routes[0].ehlo == {"XCLIENT": "pass", "DSN": "pass", "SIZE": "hide"}
    assert config.routes[1].client_tls.minimum == "1.3"
    assert config.routes[1].server_tls.minimum == "1.2"
    assert config.store == folder / "mail.db"


def test_ends_on_the_command_line_stand_for_the_files_routes(tmp_path: Path) -> None:
    (tmp_path / "smtpproxy.toml").write_text(
        "require_tls = true\n[[route]]\nlisten='smtp://127.0.0.1:9'\nupstream='smtp://a'\n"
    )
    config = load(tmp_path, upstream=("smtp://b.example",))
    assert ends(config) == [("default", "smtp://127.0.0.1:1025", "smtp://b.example:25")]
    assert config.routes[0].require_tls


def test_store_none_and_relative_paths(tmp_path: Path) -> None:
    assert load(tmp_path, store="none").store is None
    config = load(tmp_path, store="x.db", env={"SMTPPROXY_CERTS": "certs"})
    assert (config.store, config.certs) == (tmp_path / "x.db", tmp_path / "certs")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("upstream_cas = 'x'", "unknown key 'upstream_cas'; did you mean 'upstream_ca'?"),
        ("upstream-ca = 'x'", "unknown key 'upstream-ca'; did you mean 'upstream_ca'?"),
        (
            "[[route]]\nlisten='smtp://a:1'\nrequire_tsl=true",
            "[[route]] 1: unknown key 'require_tsl'; did you",
        ),
        ("[[route]]\nlisten='smtp://a:1'\nstore='x'", "key 'store'; it stands at the top of the file"),
        ("[[route]]\nupstream='smtp://a:1'", "[[route]] 1 has no listen URL"),
        ("[route]\nlisten='smtp://a:1'", "[[route]], with two brackets"),
        ("listen='smtp://a:1'\n[[route]]\nlisten='smtp://a:2'", "not in both"),
        ("max_sessions = 'many'", "key max_sessions must be a whole number, one or more, not 'many'"),
        ("max_sessions = 0", "must be a whole number, one or more, not 0"),
        ("json = 'perhaps'", "key json must be true or false, not 'perhaps'"),
        ("idle_timeout = '5 parsecs'", "must be a time in seconds"),
        ("idle_timeout = true", "must be a time in seconds"),
        ("retention_size = -1", "must be a size in octets"),
        ("bodies = 'none'", "must be full or headers or digest"),
        ("tls_min = 1.4", "must be 1.0, 1.1, 1.2 or 1.3"),
        ("ehlo = { XCLIENT = 'show' }", "must say KEYWORD=pass or KEYWORD=hide"),
        ("connect_to = '192.0.2.1'", "must be HOST:PORT"),
        ("listen = 'mail.example.com'", "has no scheme"),
        ("listen = 25", "must be a URL"),
        ("upstream = 'mock:'", "has no scheme"),
        ("listen_key = 'k.pem'", "listen_key is given without listen_cert"),
        ("tunnel = true", "tunnel needs an upstream"),
        ("listen = 'smtp://127.0.0.1:1'\nupstream = 'lmtp://h'", "not translated"),
        ("listen = ['smtp://h:1', 'smtp://h:2']\nupstream = ['smtp://h']", "2 time(s) and --upstream 1"),
        (
            "[[route]]\nname='a'\nlisten='smtp://h:1'\n[[route]]\nname='a'\nlisten='smtp://h:2'",
            "are called 'a'",
        ),
        ("max_sessions =", "smtpproxy.toml"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, toml: str, says: str) -> None:
    (tmp_path / "smtpproxy.toml").write_text(toml + "\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mistakes_elsewhere_name_the_flag_or_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--idle-timeout must be a time"):
        load(tmp_path, idle_timeout="soon")
    with pytest.raises(ConfigError, match=r"^SMTPPROXY_MAX_SESSIONS must be"):
        load(tmp_path, env={"SMTPPROXY_MAX_SESSIONS": "-3"})
    with pytest.raises(ConfigError, match=r"no such file"):
        load(tmp_path, config="absent.toml")


@pytest.mark.parametrize(
    "url",
    [
        "smtps://user:hunter2@mail.example.com",
        "user:hunter2@mail.example.com:465",
        "smtpx://user:hunter2@mail.example.com",
        "smtps://user:hunter2@mail.example.com:70000",
        "smtps://user:hunter2@mail.example.com/inbox",
        "smtps://user:hunter2@[mail.example.com",
        "smtps://user:hunter2@",
        "smtps://us@er:hunter2@mail.example.com",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env={"SMTPPROXY_UPSTREAM": url})
    assert "user info" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "upstream", "is_loop"),
    [
        ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525", True),
        ("smtp://127.0.0.1:2525", "smtp://localhost:2525", True),
        ("smtp://localhost:2525", "smtp://[::1]:2525", True),
        ("smtp://0.0.0.0:2525", "smtp+starttls://127.0.0.1:2525", True),
        ("smtp://[::]:2525", "smtp://LOCALHOST:2525", True),
        ("smtp://127.0.0.1:2525", "smtp://0.0.0.0:2525", True),
        ("smtp://[::1]:2525", "smtp://127.0.0.1:2525", False),
        ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2526", False),
        ("smtp://127.0.0.1:2525", "smtp://mail.example.com:2525", False),
        ("unix:/run/a.sock", "unix:/run/a.sock", True),
        ("unix:/run/a.sock", "unix:/run/b.sock", False),
        ("unix:/run/a.sock", "smtp://127.0.0.1:25", False),
    ],
)
def test_an_upstream_that_is_our_own_listener(tmp_path: Path, own: str, upstream: str, is_loop: bool) -> None:
    other = "smtp://127.0.0.1:1"
    config = load(tmp_path, listen=(other,), upstream=(upstream,))
    bound = [parse_endpoint(own, is_listen=True)]
    if is_loop:
        with pytest.raises(ConfigError, match="own listener"):
            refuse_loops(bound, config.routes)
        with pytest.raises(ConfigError, match="own listener"):
            load(tmp_path, listen=(own,), upstream=(upstream,))
    else:
        refuse_loops(bound, config.routes)


def test_connect_to_counts_as_what_is_dialled(tmp_path: Path) -> None:
    ends_of: dict[str, Any] = {
        "listen": ("smtp://127.0.0.1:2525",),
        "upstream": ("smtp://mail.example.com:25",),
    }
    with pytest.raises(ConfigError, match="own listener"):
        load(tmp_path, **ends_of, connect_to="127.0.0.1:2525")
    load(tmp_path, **ends_of, connect_to="127.0.0.1:2526")


def test_what_should_be_said_aloud(tmp_path: Path) -> None:
    assert warnings_of(load(tmp_path, upstream=("smtp://mail.example.com",))) == []
    said = warnings_of(
        load(
            tmp_path,
            listen=("smtp://0.0.0.0:2525",),
            upstream=("smtps://mail.example.com",),
            upstream_insecure=True,
            keep_secrets=True,
            keylog="keys",
        )
    )
    assert ["open relay" in said[0], "not checked" in said[1], "recorded" in said[2], "keys" in said[3]] == [
        True
    ] * 4
