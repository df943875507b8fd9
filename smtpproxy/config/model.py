"""The configuration as one checked, frozen value; it does not know where its parts were read from."""

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from smtpproxy.config.token import Token
from smtpproxy.endpoints import Endpoint
from smtpproxy.net.route import Limits
from smtpproxy.session.options import EhloPolicy

TlsVersion: TypeAlias = Literal["1.0", "1.1", "1.2", "1.3"]
Bodies: TypeAlias = Literal["full", "headers", "digest"]
OnRecordFailure: TypeAlias = Literal["continue", "refuse"]

DEFAULT_LISTEN = "smtp://127.0.0.1:1025"
DEFAULT_UPSTREAM = "sandbox:"
DEFAULT_ROUTE_NAME = "default"


class LegTls(msgspec.Struct, frozen=True, kw_only=True):
    """What TLS on one leg is allowed to be.

    Attributes:
        minimum: the lowest version; 1.0 and 1.1 also lower OpenSSL's security level, which they need.
        ciphers: an OpenSSL cipher string for TLS 1.2 and older; "" is OpenSSL's own choice.
        certificate, key: what we present there, PEM; None is our authority's leaf (client leg) or no
            certificate (server leg). A key of None means that it is in the certificate's file.
    """

    minimum: TlsVersion = "1.2"
    ciphers: str = ""
    certificate: Path | None = None
    key: Path | None = None


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One listener and where it leads, as the user asked for it.

    Attributes:
        listen, upstream: the two ends; the sandbox stands where no upstream was given.
        connect_to: dial this host and port instead; the upstream's name still counts for TLS.
        client_tls, server_tls: the client's leg and the server's.
        upstream_ca: a PEM file to trust instead of the system's roots.
        is_upstream_insecure: the server's certificate is not checked.
        ehlo: keyword → pass or hide, over the built-in table.
        is_tunnel: pass TLS on unread.
        beyond: where `upstream` is a mock: the way for the sessions that it has no recording for; of that
            route `listen` does not count.
    """

    name: str = DEFAULT_ROUTE_NAME
    listen: Endpoint
    upstream: Endpoint
    connect_to: tuple[str, int] | None = None
    client_tls: LegTls = LegTls()
    server_tls: LegTls = LegTls()
    upstream_ca: Path | None = None
    is_upstream_insecure: bool = False
    require_tls: bool = False
    accept_proxy_protocol: bool = False
    ehlo: dict[str, EhloPolicy] = {}
    strict_ehlo: bool = False
    is_tunnel: bool = False
    beyond: "RouteConfig | None" = None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps. Zero means without limit."""

    days: float = 7.0
    octets: int = 2 * 1024**3


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The web port: page, REST and live websocket.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        token: what must be known to use it; empty where nothing must.
        names: further hosts that it may be called by, `NAME` or `NAME:PORT`.
    """

    host: str = "127.0.0.1"
    port: int = 8025
    token: Token = Token()
    names: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `smtpproxy run` was asked for.

    Attributes:
        routes: at least one; their names differ.
        store: the event log's file; None records nothing.
        certs: the authority's folder.
        log: a text file that the transcript is appended to.
        keylog: a folder for one SSLKEYLOGFILE per leg.
        web: the web port; None where there is none.
        is_json: standard output is event lines instead of the transcript.
        is_quiet: standard output ends after the header (or the ready line).
    """

    routes: tuple[RouteConfig, ...]
    store: Path | None
    certs: Path
    log: Path | None = None
    keylog: Path | None = None
    web: WebConfig | None = None
    is_json: bool = False
    is_quiet: bool = False
    keep_secrets: bool = False
    bodies: Bodies = "full"
    on_record_failure: OnRecordFailure = "continue"
    retention: Retention = Retention()
    limits: Limits = Limits()
