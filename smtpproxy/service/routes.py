"""What the user asked of each route, made into what the network runs: contexts, options, policies.

It knows configuration, certificates and who stands in for a server, and neither sockets nor the store.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from smtpproxy.config.model import Config, RouteConfig
from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import ServiceError
from smtpproxy.net.route import Limits, Route
from smtpproxy.service.beyond import lead_beyond
from smtpproxy.session.decisions import Policy
from smtpproxy.session.options import RelayOptions, ServerTls
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.contexts import make_client_leg_context, make_server_leg_context

if TYPE_CHECKING:
    from smtpproxy.replay.mock import Mock

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
CLIENT_LEG_KEYLOG = "client-leg.keys"
SERVER_LEG_KEYLOG = "server-leg.keys"

_SERVER_TLS: dict[str, ServerTls] = {
    "smtp": "in-step",
    "lmtp": "in-step",
    "smtp+starttls": "starttls",
    "smtps": "implicit",
    "sandbox": "none",
    "mock": "none",
}


class Provider(Protocol):
    """Who stands in for a server: the sandbox, or a mock."""

    @property
    def content_octets(self) -> int:
        """How much of a message it wants to see; 0 is the first piece."""

    def open(
        self, client: str, *, is_lmtp: bool, is_tls: bool, offers_starttls: bool, nonce: str
    ) -> Policy: ...


def build_routes(
    config: Config, authority: Authority, *, limits: Limits, mock: "Mock | None" = None
) -> list[Route]:
    """One Route for each of the configuration's, in order.

    Args:
        config: what to run.
        authority: signs what the app is shown.
        limits: of every route.
        mock: the recorded sessions behind `mock:`, where a route leads there.

    Raises:
        CertificateError: a certificate, key or keylog file cannot be used; names the flag.
        ServiceError: the keylog folder cannot be made.
    """
    _make_folder(config.keylog)
    every = [*config.routes, *(route.beyond for route in config.routes if route.beyond is not None)]
    sandbox = _sandbox() if any(route.upstream.is_sandbox for route in every) else None

    def build(route: RouteConfig) -> Route:
        provider = mock if route.upstream.is_mock else sandbox
        built = _route(route, config, authority, provider, limits)
        if mock is None or route.beyond is None:
            return built
        return lead_beyond(built, build(route.beyond), left=lambda: mock.left)

    return [build(route) for route in config.routes]


def _route(
    route: RouteConfig, config: Config, authority: Authority, provider: Provider | None, limits: Limits
) -> Route:
    listen, upstream = route.listen, route.upstream
    client, server = route.client_tls, route.server_tls
    client_context = server_context = None
    if not route.is_tunnel:
        client_context = make_client_leg_context(
            authority,
            own_certificate=None if client.certificate is None else (client.certificate, client.key),
            names=_names(route),
            minimum_version=client.minimum,
            ciphers=client.ciphers,
            keylog=config.keylog and config.keylog / CLIENT_LEG_KEYLOG,
        )
        if not upstream.is_embedded:
            server_context = make_server_leg_context(
                ca_file=route.upstream_ca,
                is_insecure=route.is_upstream_insecure,
                client_certificate=None if server.certificate is None else (server.certificate, server.key),
                minimum_version=server.minimum,
                ciphers=server.ciphers,
                keylog=config.keylog and config.keylog / SERVER_LEG_KEYLOG,
            )
    return Route(
        name=route.name,
        listen=listen,
        upstream=upstream,
        options=_options(route, config, limits, provider),
        connect_to=route.connect_to,
        client_context=client_context,
        server_context=server_context,
        make_policy=_policy_maker(provider, listen)
        if provider is not None and upstream.is_embedded
        else None,
        is_tunnel=route.is_tunnel,
        limits=limits,
    )


def _options(route: RouteConfig, config: Config, limits: Limits, provider: Provider | None) -> RelayOptions:
    upstream = route.upstream
    dialled, address = upstream, f"the {upstream.scheme}" if upstream.is_embedded else upstream.hostport
    if route.connect_to is not None:
        host, port = route.connect_to
        dialled = Endpoint(scheme=upstream.scheme, host=host, port=port)
        address += f" at {dialled.hostport}"
    return RelayOptions(
        is_client_tls=route.listen.scheme == "smtps",
        server_tls=_SERVER_TLS[upstream.scheme],
        is_lmtp=route.listen.is_lmtp,
        require_tls=route.require_tls,
        accept_proxy_protocol=route.accept_proxy_protocol,
        ehlo=route.ehlo,
        strict_ehlo=route.strict_ehlo,
        is_client_loopback=route.listen.is_loopback,
        is_server_loopback=dialled.is_loopback,
        is_server_verified=not route.is_upstream_insecure,
        has_own_certificate=route.server_tls.certificate is not None,
        is_keeping_secrets=config.keep_secrets,
        is_tunnel=route.is_tunnel,
        idle_timeout_s=limits.idle_timeout_s,
        handshake_timeout_s=limits.handshake_timeout_s,
        proxy_header_timeout_s=limits.proxy_header_timeout_s,
        upstream=address,
        policy_content_octets=provider.content_octets if provider is not None and upstream.is_embedded else 0,
    )


def _names(route: RouteConfig) -> list[str]:
    """What the app may call us: the address it connects to, or the server's name where we stand in for it."""
    names = [route.listen.host, route.upstream.host]
    if route.listen.is_loopback or route.listen.host in _WILDCARDS:
        names += ["localhost", "127.0.0.1", "::1"]
    return [name for name in dict.fromkeys(names) if name and name not in _WILDCARDS]


def _sandbox() -> Provider:
    from smtpproxy.sandbox import Sandbox  # a proxy before a real server starts sooner without it

    return Sandbox()


def _policy_maker(provider: Provider, listen: Endpoint) -> Callable[[str], Policy]:
    is_tls = listen.scheme == "smtps"

    def make_policy(client: str) -> Policy:
        return provider.open(
            client,
            is_lmtp=listen.is_lmtp,
            is_tls=is_tls,
            offers_starttls=not is_tls,
            nonce=secrets.token_hex(8),
        )

    return make_policy


def _make_folder(keylog: Path | None) -> None:
    if keylog is None:
        return
    try:
        keylog.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"--keylog {keylog} cannot be made a folder: {error.strerror}") from None
