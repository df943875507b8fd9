"""What must hold between settings, and what should be said aloud about them; it resolves no name."""

from collections import Counter
from collections.abc import Sequence

from smtpproxy.config.model import Config, LegTls, RouteConfig
from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import ConfigError

_LOCAL_NAMES = frozenset({"localhost", "localhost.", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared
_UNSPECIFIC = frozenset({"localhost", "localhost.", "0.0.0.0", "::"})  # noqa: S104 - compared


def check_config(config: Config) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: names the settings and the way out.
    """
    for name, times in Counter(route.name for route in config.routes).items():
        if times > 1:
            raise ConfigError(f"{times} routes are called {name!r}; give each its own name")
    for route in config.routes:
        _check_route(route)
    web = config.web
    if web is not None and not web.token and not _is_loopback(web.host):
        raise ConfigError(
            f"--web {web.host}:{web.port} can be reached from other machines, and shows all mail: set a "
            "token with SMTPPROXY_WEB_TOKEN or --web-token, or listen on 127.0.0.1"
        )
    refuse_loops(
        [route.listen for route in config.routes if route.listen.port or route.listen.path], config.routes
    )


def _is_loopback(host: str) -> bool:
    return Endpoint(scheme="smtp", host=host).is_loopback


def _check_route(route: RouteConfig) -> None:
    _check_pair(route.client_tls, "listen_cert", "listen_key")
    _check_pair(route.server_tls, "upstream_cert", "upstream_key")
    if route.beyond is not None:
        _check_route(route.beyond)
    if route.upstream.is_embedded:
        name = route.upstream.scheme
        if route.connect_to is not None:
            raise ConfigError(f"connect_to needs an upstream: the {name} is not dialled")
        if route.is_tunnel:
            raise ConfigError(f"tunnel needs an upstream: the {name} reads what the app says")
    elif route.listen.is_lmtp != route.upstream.is_lmtp:
        raise ConfigError(
            f"{route.listen} leads to {route.upstream}: LMTP and SMTP are not translated into each other; "
            "use the same on both sides"
        )
    if route.is_tunnel and route.listen.scheme != route.upstream.scheme:
        raise ConfigError(
            f"tunnel passes TLS on unread: {route.listen} and {route.upstream} must have the same scheme"
        )


def _check_pair(tls: LegTls, certificate: str, key: str) -> None:
    if tls.key is not None and tls.certificate is None:
        raise ConfigError(f"{key} is given without {certificate}")


def refuse_loops(bound: Sequence[Endpoint], routes: Sequence[RouteConfig]) -> None:
    """Refuse an upstream that is one of our own listeners: every session would open another, without end.

    Args:
        bound: addresses that are, or are to be, listened on; ports are known.
        routes: where sessions lead.

    Raises:
        ConfigError: names both.
    """
    for route in routes:
        if route.upstream.is_embedded:
            continue
        host, port = route.connect_to or (route.upstream.host, route.upstream.port)
        for own in bound:
            if route.upstream.path or own.path:
                is_own = route.connect_to is None and route.upstream.path == own.path
            else:
                is_own = port == own.port and _is_same_host(host.lower(), own.host.lower())
            if is_own:
                raise ConfigError(
                    f"upstream {route.upstream} is smtpproxy's own listener {own}; name the real server"
                )


def _is_same_host(dialled: str, own: str) -> bool:
    """Whether dialling the one reaches the other, as far as the texts tell."""
    if dialled == own:
        return True
    # `localhost` may be either family; a wildcard stands for all addresses, and dialled it is loopback.
    return {dialled, own} <= _LOCAL_NAMES and bool({dialled, own} & _UNSPECIFIC)


def warnings_of(config: Config) -> list[str]:
    """What a person should know before mail flows, one sentence each."""
    warnings = []
    for route in config.routes:
        if not route.listen.is_loopback and not route.upstream.is_embedded:
            warnings.append(
                f"{route.listen} can be reached from other machines: whoever connects uses {route.upstream} "
                "from this machine's address. If that server trusts the address, this is an open relay"
            )
        if route.is_upstream_insecure and not route.upstream.is_embedded:
            warnings.append(f"the certificate of {route.upstream} is not checked (--upstream-insecure)")
    if config.keep_secrets:
        warnings.append("passwords and tokens are recorded (--keep-secrets)")
    if config.keylog is not None:
        warnings.append(f"TLS secrets are written to {config.keylog} (--keylog)")
    return warnings
