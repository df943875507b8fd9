"""The web port's settings: on by default, off when asked, and never open to others without a token."""

from pathlib import Path

import pytest

from smtpproxy.config.load import load_config
from smtpproxy.config.model import WebConfig
from smtpproxy.errors import ConfigError


def web(folder: Path, flags: dict[str, object] | None = None, **variables: str) -> WebConfig | None:
    environment = {f"SMTPPROXY_{name.upper()}": value for name, value in variables.items()}
    return load_config(flags=flags or {}, environment=environment, folder=folder).web


def test_it_is_on_by_default_and_for_this_machine(tmp_path: Path) -> None:
    assert web(tmp_path) == WebConfig(host="127.0.0.1", port=8025)
    assert web(tmp_path, {"no_web": True}) is None
    assert web(tmp_path, no_web="1", web="127.0.0.1:9000") is None


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("localhost:9000", "localhost", 9000), ("[::1]:8025", "::1", 8025)],
)
def test_where_it_listens(tmp_path: Path, written: str, host: str, port: int) -> None:
    found = web(tmp_path, {"web": written})
    assert found is not None
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    "written", ["8025", "127.0.0.1", "127.0.0.1:70000", "http://127.0.0.1:8025", ":8025", "::1:8025"]
)
def test_what_is_no_address(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match="--web must be HOST:PORT"):
        web(tmp_path, {"web": written})


def test_a_token_opens_it_to_others_and_does_not_show(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SMTPPROXY_WEB_TOKEN"):
        web(tmp_path, web="0.0.0.0:8025")
    found = web(tmp_path, web="0.0.0.0:8025", web_token="correct-horse-battery")
    assert found is not None
    assert found.token == "correct-horse-battery"
    assert "horse" not in repr(found)


@pytest.mark.parametrize("token", ["short", "with a blank in it", "ümläut-and-more", "x" * 201])
def test_what_is_no_token_is_not_repeated(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError) as refused:
        web(tmp_path, web_token=token)
    assert token not in str(refused.value)


def test_further_names(tmp_path: Path) -> None:
    found = web(tmp_path, web_host="mail.example.com, localhost:8080")
    assert found is not None
    assert found.names == ("mail.example.com", "localhost:8080")
    with pytest.raises(ConfigError, match="--web-host must be a host name"):
        web(tmp_path, {"web_host": ("http://mail.example.com",)})
