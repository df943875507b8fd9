"""What flags, markers and the configuration file ask of a test's proxy, as checked values; it opens nothing.

A flag wins over the marker, the marker over the configuration file.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import pytest

from smtpproxy.config.checks import check_config
from smtpproxy.config.credentials import load_credentials
from smtpproxy.config.model import DEFAULT_UPSTREAM, Config, RouteConfig
from smtpproxy.endpoints import Endpoint, parse_endpoint
from smtpproxy.errors import ConfigError
from smtpproxy.net.route import Limits
from smtpproxy.replay.credentials import CredentialBook

RecordMode: TypeAlias = Literal["none", "once", "new", "all", "rewrite"]
ROUTE_KEYS: Final = frozenset({"upstream", "upstream_ca", "upstream_insecure", "listen"})
CASSETTE_KEYS: Final = ROUTE_KEYS | {"name", "path", "match"}
_LISTEN: Final = ("smtp", "smtps", "lmtp")
_FLAGS: Final = re.compile(r"(?<![\w-])--(allow-rcpt|rcpt-to|credentials|upstream-ca)\b")
# A test's app opens few sessions, and does not wait long for them to end.
_LIMITS: Final = Limits(max_sessions=200, shutdown_timeout_s=0.2)


def read_marker(item: pytest.Item, name: str, known: frozenset[str]) -> dict[str, Any]:
    """The keywords of a test's markers of that name; the nearest marker wins.

    Raises:
        ConfigError: a keyword is not known, or a value stands without one.
    """
    keywords: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers(name))):
        if marker.args:
            raise ConfigError(f"marker {name} takes keywords only: {', '.join(sorted(known))}")
        unknown = sorted(marker.kwargs.keys() - known)
        if unknown:
            raise ConfigError(f"marker {name} knows no {unknown[0]!r}; it knows {', '.join(sorted(known))}")
        keywords |= marker.kwargs
    return keywords


def read_mode(config: pytest.Config) -> RecordMode:
    """The record mode.

    Raises:
        ConfigError: ini smtp_record_mode is none of them.
    """
    mode = config.getoption("--smtp-record-mode") or config.getini("smtp_record_mode") or "none"
    if mode not in get_args(RecordMode):
        raise ConfigError(f"smtp_record_mode = {mode!r}: it is one of {', '.join(get_args(RecordMode))}")
    return cast("RecordMode", mode)


def read_listen(keywords: Mapping[str, Any], default: str = "smtp") -> Endpoint:
    """Where to listen: on loopback, on a port that the system chooses, unless the marker has a URL.

    Raises:
        ConfigError: the marker's `listen` is not known.
    """
    listen = str(keywords.get("listen", default))
    if ":" in listen:
        return parse_endpoint(listen, is_listen=True)
    if listen not in _LISTEN:
        raise ConfigError(f"marker keyword listen={listen!r}: it is one of {', '.join(_LISTEN)}, or a URL")
    return parse_endpoint(f"{listen}://127.0.0.1:0", is_listen=True)


def read_upstream(config: pytest.Config, keywords: Mapping[str, Any], listen: Endpoint) -> RouteConfig:
    """The route to the server that was asked for; without any to the sandbox.

    Raises:
        ConfigError: a URL is wrong.
    """
    url = (
        config.getoption("--smtp-upstream")
        or keywords.get("upstream")
        or config.getini("smtp_upstream")
        or DEFAULT_UPSTREAM
    )
    upstream = parse_endpoint(str(url), is_listen=False)
    return RouteConfig(
        listen=listen,
        upstream=upstream,
        upstream_ca=None if upstream.is_sandbox else read_upstream_ca(config, keywords),
        is_upstream_insecure=bool(keywords.get("upstream_insecure", False)),
    )


def recording_flags(config: pytest.Config, keywords: Mapping[str, Any], recorded: str) -> list[str]:
    """The flags by which a command records the server that is meant here.

    Args:
        config: has this run's own flags.
        keywords: the marker's.
        recorded: the URL that a recording names, which may be anybody's work; it counts where neither the
            marker nor the configuration file names a server. "" where there is none.
    """
    flags: list[str] = []
    url = config.getoption("--smtp-upstream")
    if not url and not keywords.get("upstream") and not config.getini("smtp_upstream"):
        try:
            upstream = parse_endpoint(recorded, is_listen=False)
        except ConfigError:
            url = None
        else:
            url = None if upstream.is_embedded else str(upstream)
    for flag, value in (
        ("--smtp-upstream", url),
        ("--smtp-upstream-ca", config.getoption("--smtp-upstream-ca")),
    ):
        flags += [flag, str(value)] if value else []
    return flags


def read_upstream_ca(config: pytest.Config, keywords: Mapping[str, Any]) -> Path | None:
    """The PEM file to trust; flags are relative to where pytest was started, all else to rootdir."""
    flag = config.getoption("--smtp-upstream-ca")
    if flag:
        return config.invocation_params.dir / str(flag)
    named = keywords.get("upstream_ca") or config.getini("smtp_upstream_ca")
    return config.rootpath / named if named else None


def read_credentials(config: pytest.Config) -> CredentialBook:
    """Whose secrets may be used: those of --smtp-credentials, else of the environment.

    Raises:
        ConfigError: the file cannot be used.
    """
    flag = config.getoption("--smtp-credentials")
    return load_credentials(config.invocation_params.dir / str(flag) if flag else None, os.environ)


def in_words_of_pytest(text: str) -> str:
    """An error of smtpproxy's, naming the flags as they are called here."""
    return _FLAGS.sub(r"--smtp-\1", text)


def proxy_config(*routes: RouteConfig, certs: Path) -> Config:
    """A configuration that keeps nothing on disk but its authority.

    Raises:
        ConfigError: the route contradicts itself.
    """
    config = Config(routes=routes, store=None, certs=certs, limits=_LIMITS)
    check_config(config)
    return config
