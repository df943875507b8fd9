"""What a route asks of the relay core, as one frozen value; it knows nothing of sockets or files."""

from collections.abc import Mapping
from typing import Literal

import msgspec

ServerTls = Literal["in-step", "starttls", "implicit", "none"]
EhloPolicy = Literal["pass", "hide"]


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The route's part of what the core must know.

    Attributes:
        is_client_tls: the client's leg is TLS from the first octet (smtps://).
        server_tls: in-step (smtp://): STARTTLS is taken on both legs or on none; starttls: the proxy
            upgrades the server's leg; implicit: TLS from the first octet; none: there is no server leg.
        is_lmtp: replies are counted by RFC 2033.
        require_tls: MAIL before TLS on the client's leg gets a 530.
        accept_proxy_protocol: a PROXY header is demanded first (v1 or v2).
        ehlo: keyword → pass or hide, over the built-in table.
        strict_ehlo: hide what smtpproxy does not know.
        is_client_loopback, is_server_loopback: nothing leaves this machine on that leg.
        is_server_verified: the server's certificate is checked, name included.
        has_own_certificate: we show the server a client certificate of ours.
        is_keeping_secrets: they are recorded, which every session must say.
        upstream: the server's address for people, in our own replies and findings.
        is_tunnel: TLS is passed on unread, and only its length and digest are recorded.
        idle_timeout_s, handshake_timeout_s, proxy_header_timeout_s: how long each may take, in seconds.
        policy_content_octets: how much of each message, or chunk, a policy without a server's leg is shown;
            0 is the first piece of what is recorded.
        name: how the proxy calls itself where it must greet for a client that gave no name.
    """

    is_client_tls: bool = False
    server_tls: ServerTls = "in-step"
    is_lmtp: bool = False
    require_tls: bool = False
    accept_proxy_protocol: bool = False
    ehlo: Mapping[str, EhloPolicy] = {}
    strict_ehlo: bool = False
    is_client_loopback: bool = True
    is_server_loopback: bool = True
    is_server_verified: bool = True
    has_own_certificate: bool = False
    is_keeping_secrets: bool = False
    is_tunnel: bool = False
    idle_timeout_s: float = 900.0
    handshake_timeout_s: float = 10.0
    proxy_header_timeout_s: float = 5.0
    upstream: str = ""
    policy_content_octets: int = 0
    name: str = "[127.0.0.1]"
