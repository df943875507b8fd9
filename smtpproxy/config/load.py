"""Flags over variables over smtpproxy.toml, read into one Config; it opens the TOML file and nothing else.

A layer is what one of the three says: key → checked value. The command line's `--listen` and `--upstream`
(or their variables) stand for the file's routes altogether; every other setting of a route is looked up in
the flags, the variables, the route's own table and the top of the file, in that order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from smtpproxy.config.checks import check_config
from smtpproxy.config.model import (
    DEFAULT_LISTEN,
    DEFAULT_ROUTE_NAME,
    DEFAULT_UPSTREAM,
    Config,
    LegTls,
    Retention,
    RouteConfig,
    WebConfig,
)
from smtpproxy.config.paths import CONFIG_NAME, default_certs, default_store
from smtpproxy.config.readers import split_list
from smtpproxy.config.settings import BY_KEY, ENVIRONMENT_PREFIX, SETTINGS, Setting
from smtpproxy.endpoints import parse_endpoint
from smtpproxy.errors import ConfigError, EndpointError
from smtpproxy.net.route import Limits

Layer: TypeAlias = dict[str, Any]

CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"
_ENDS = ("listen", "upstream")
_LIMITS = {
    "max_sessions": "max_sessions",
    "max_sessions_per_address": "max_sessions_per_address",
    "idle_timeout": "idle_timeout_s",
    "shutdown_timeout": "shutdown_timeout_s",
}


def load_config(
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    folder: Path,
    config_file: str | None = None,
) -> Config:
    """Read everything that was asked for.

    Args:
        flags: key → what the command line says; absent keys were not given.
        environment: all variables; those that are empty count as not given.
        folder: the current folder, absolute; flags' and variables' paths are relative to it.
        config_file: the file named by --config; else SMTPPROXY_CONFIG, else ./smtpproxy.toml if it exists.

    Raises:
        ConfigError: names the flag, variable, or file and key that is wrong, and what it should be.
    """
    flag_layer = {
        key: _read(BY_KEY[key], value, folder=folder, source=BY_KEY[key].flag) for key, value in flags.items()
    }
    variables = {
        setting.key: _read(setting, environment[setting.variable], folder=folder, source=setting.variable)
        for setting in SETTINGS
        if environment.get(setting.variable, "")
    }
    named_file = config_file or environment.get(CONFIG_VARIABLE) or None
    top, tables = _load_file(folder / (named_file or CONFIG_NAME), is_named=named_file is not None)
    above = _merge(variables, flag_layer)
    if any(key in above for key in _ENDS):
        tables = []
    whole = _merge(top, above)
    config = Config(
        routes=_routes(top, tables, above),
        store=whole["store"] if "store" in whole else default_store(),
        certs=whole.get("certs") or default_certs(),
        retention=Retention(
            **_present(whole, {"retention_days": "days", "retention_size": "octets"}),
        ),
        limits=Limits(**_present(whole, _LIMITS)),
        web=_web(whole),
        **_present(whole, {"json": "is_json", "quiet": "is_quiet"}),
        **_present(
            whole, {key: key for key in ("log", "keylog", "keep_secrets", "bodies", "on_record_failure")}
        ),
    )
    check_config(config)
    return config


def _web(whole: Layer) -> WebConfig | None:
    """The web port, unless it is switched off."""
    if whole.get("no_web"):
        return None
    where = dict(zip(("host", "port"), whole.get("web", ()), strict=False))
    return WebConfig(**where, **_present(whole, {"web_token": "token", "web_host": "names"}))


def _load_file(path: Path, *, is_named: bool) -> tuple[Layer, list[Layer]]:
    """The file's top and its [[route]] tables; nothing where an unnamed file does not exist."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        if is_named:
            raise ConfigError(f"configuration file {path}: there is no such file") from None
        return {}, []
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"configuration file {path} is not UTF-8 text") from None
    import tomllib  # only where there is a file: it costs 5 ms at every start otherwise

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {path}: {error}") from None
    raw_tables = document.pop("route", [])
    if not isinstance(raw_tables, list) or not all(isinstance(table, dict) for table in raw_tables):
        raise ConfigError(f"{path}: write each route as [[route]], with two brackets")
    top = _read_table(document, path=path, where=None)
    tables = [_read_table(table, path=path, where=number) for number, table in enumerate(raw_tables, 1)]
    if tables and any(key in top for key in _ENDS):
        raise ConfigError(
            f"{path}: listen and upstream stand at the top of the file or in [[route]], not in both"
        )
    return top, tables


def _read_table(table: Mapping[str, Any], *, path: Path, where: int | None) -> Layer:
    """One table's keys, checked; `where` counts [[route]] tables from 1, None is the top of the file."""
    place = f"{path}: " if where is None else f"{path}: [[route]] {where}: "
    known = {setting.key for setting in SETTINGS if where is None or setting.is_route}
    if where is not None:
        known.add("name")
    layer: Layer = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{place}unknown key {key!r}{_nearest(key, known)}")
        if key == "name":
            if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 64:
                raise ConfigError(f"{place}key name must be 1 to 64 printable characters")
            layer[key] = value
            continue
        layer[key] = _read(BY_KEY[key], value, folder=path.parent, source=f"{place}key {key}")
        if where is not None and key in _ENDS and len(layer[key]) != 1:
            raise ConfigError(f"{place}key {key} must be one URL; write a [[route]] for each")
    return layer


def _nearest(key: str, known: set[str]) -> str:
    """What the user may have meant, as the end of a sentence."""
    if key in BY_KEY:
        return "; it stands at the top of the file, not in [[route]]"
    import difflib  # only for a mistake

    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(sorted(known))}"


def _read(setting: Setting, value: object, *, folder: Path, source: str) -> Any:
    """One checked value; listen and upstream are lists of endpoints in every layer."""
    try:
        if setting.key in _ENDS:
            values = split_list(value) if isinstance(value, (str, list, tuple)) else [value]
            return [setting.read(one, folder) for one in values]
        return setting.read(value, folder)
    except EndpointError as error:
        raise EndpointError(f"{source}: {error}") from None
    except ValueError as error:
        # What was written is repeated where it is short and plain, so that a typing error can be seen.
        is_shown = isinstance(value, (str, int, float)) and len(repr(value)) < 60 and not setting.is_secret
        seen = f", not {value!r}" if is_shown else ""
        raise ConfigError(f"{source} {error}{seen}") from None


def _merge(below: Layer, above: Layer) -> Layer:
    """What `above` says wins; tables (ehlo) are merged keyword by keyword."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict):
            merged[key] = {**below[key], **above[key]}
    return merged


def _present(layer: Layer, names: Mapping[str, str]) -> dict[str, Any]:
    """The settings that were given, under the names the model has for them."""
    return {name: layer[key] for key, name in names.items() if key in layer}


def _routes(top: Layer, tables: Sequence[Layer], above: Layer) -> tuple[RouteConfig, ...]:
    """One RouteConfig per [[route]], or per --listen/--upstream pair."""
    if tables:
        layers = [_merge(_merge(top, table), above) for table in tables]
        for number, layer in enumerate(layers, 1):
            if "listen" not in layer:
                raise ConfigError(f"[[route]] {number} has no listen URL")
    else:
        whole = _merge(top, above)
        listens = whole.get("listen") or [parse_endpoint(DEFAULT_LISTEN, is_listen=True)]
        upstreams = whole.get("upstream") or [parse_endpoint(DEFAULT_UPSTREAM, is_listen=False)] * len(
            listens
        )
        if len(listens) != len(upstreams):
            raise ConfigError(
                f"--listen is given {len(listens)} time(s) and --upstream {len(upstreams)}: "
                "give one --listen per --upstream, in the same order (sandbox: is an upstream too)"
            )
        layers = [
            {**whole, "listen": [listen], "upstream": [upstream]}
            for listen, upstream in zip(listens, upstreams, strict=True)
        ]
    return tuple(_route(layer, number) for number, layer in enumerate(layers, 1))


def _route(layer: Layer, number: int) -> RouteConfig:
    upstream = layer.get("upstream") or [parse_endpoint(DEFAULT_UPSTREAM, is_listen=False)]
    same = ("connect_to", "upstream_ca", "require_tls", "accept_proxy_protocol", "ehlo", "strict_ehlo")
    client_tls = {
        "listen_cert": "certificate",
        "listen_key": "key",
        "tls_min": "minimum",
        "tls_ciphers": "ciphers",
    }
    server_tls = {
        "upstream_cert": "certificate",
        "upstream_key": "key",
        "upstream_tls_min": "minimum",
        "upstream_tls_ciphers": "ciphers",
    }
    return RouteConfig(
        name=layer.get("name") or (DEFAULT_ROUTE_NAME if number == 1 else f"route-{number}"),
        listen=layer["listen"][0],
        upstream=upstream[0],
        client_tls=LegTls(**_present(layer, client_tls)),
        server_tls=LegTls(**_present(layer, server_tls)),
        **_present(layer, {"upstream_insecure": "is_upstream_insecure", "tunnel": "is_tunnel"}),
        **_present(layer, {key: key for key in same}),
    )
