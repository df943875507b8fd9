"""What a person should do about a failed handshake, as one table by leg and cause; it knows no TLS object.

`{host}` is who was at the other end, `{names}` what the certificate shown is good for, `{not_after}` and
`{not_before}` its dates.
"""

from typing import Final, Literal, TypeAlias

from smtpproxy.session.events import Leg

Cause: TypeAlias = Literal[
    "untrusted",  # the issuer is not known
    "unaccepted",  # refused without saying whether for its issuer, its name or its date
    "name-mismatch",
    "expired",
    "not-yet-valid",
    "weak",  # key, signature or protocol feature below the security level
    "bad-certificate",  # any other fault of the certificate
    "version",
    "parameters",  # no common cipher, group or signature algorithm
    "unknown-name",  # SNI
    "client-certificate",
    "plain-text",
    "left",
    "reset",
    "timeout",
    "other",
]

_TRUST = "run smtpproxy trust, and set the line it prints for the app's language"

ADVICE: Final[dict[tuple[Leg, Cause], str]] = {
    # the app and we
    ("client", "untrusted"): f"the app does not trust smtpproxy's CA: {_TRUST}",
    ("client", "unaccepted"): (
        f"the app does not accept the certificate: either it does not trust smtpproxy's CA ({_TRUST}), or it"
        " connects by a name that the certificate does not have"
    ),
    ("client", "expired"): "the app finds the certificate out of date: compare its clock with this machine's",
    ("client", "version"): (
        "the app speaks no TLS version that is allowed here: update it, or run smtpproxy with --tls-min 1.0"
    ),
    ("client", "parameters"): (
        "the app and smtpproxy have no cipher in common: look at --tls-ciphers, or show a certificate of"
        " another kind with --listen-cert (ours are ECDSA, which very old programs do not know)"
    ),
    ("client", "unknown-name"): "the app asks for a name (SNI) that no certificate can have",
    ("client", "weak"): "the app uses what OpenSSL holds for too weak: run smtpproxy with --tls-min 1.0",
    ("client", "plain-text"): (
        "the app speaks plain SMTP where TLS was due: use smtp:// in --listen, or switch the app to"
        " implicit TLS"
    ),
    ("client", "left"): (
        "the app left in the middle of the handshake; programs that do not trust a certificate often do so"
        f" without a word: {_TRUST}"
    ),
    ("client", "reset"): (
        "the app reset the connection in the middle of the handshake; programs that do not trust a"
        f" certificate often do so without a word: {_TRUST}"
    ),
    ("client", "timeout"): (
        "the app began no TLS: if it speaks plain SMTP or STARTTLS, listen on smtp:// instead of smtps://"
    ),
    ("client", "other"): "see what the app itself logs about TLS",
    # the server and we
    ("server", "untrusted"): (
        "if this certificate is what you expect, trust its issuer with --upstream-ca FILE; if no server's"
        " certificate is trusted, the system's roots are missing (package ca-certificates)"
    ),
    ("server", "unaccepted"): "the server does not accept our certificate: look at --upstream-cert",
    ("server", "name-mismatch"): (
        "the certificate is for {names}: write one of these names in --upstream (and where to dial, if"
        " that is elsewhere, in --connect-to)"
    ),
    ("server", "expired"): (
        "the certificate ended on {not_after}: its owner must renew it (or this machine's clock is wrong);"
        " --upstream-insecure goes on without checking"
    ),
    ("server", "not-yet-valid"): "the certificate begins on {not_before}: compare this machine's clock",
    ("server", "weak"): (
        "{host} uses what OpenSSL holds for too weak: --upstream-tls-min 1.0 allows it on this route"
    ),
    ("server", "bad-certificate"): (
        "the certificate itself is faulty, and its owner must replace it; --upstream-insecure goes on"
        " without checking"
    ),
    ("server", "version"): (
        "{host} speaks no TLS version that is allowed here: lower or raise --upstream-tls-min"
    ),
    ("server", "parameters"): (
        "{host} and smtpproxy have no cipher in common (look at --upstream-tls-ciphers, try"
        " --upstream-tls-min 1.0), or it wants a client certificate (--upstream-cert)"
    ),
    ("server", "unknown-name"): "{host} does not know that name: write the server's own name in --upstream",
    ("server", "client-certificate"): (
        "{host} wants a client certificate: give one with --upstream-cert and --upstream-key"
    ),
    ("server", "plain-text"): (
        "{host} speaks plain SMTP on this port: use smtp+starttls:// (often port 587) instead of smtps://; if"
        " it said so after STARTTLS, it is broken"
    ),
    ("server", "left"): (
        "{host} left in the middle of the handshake: its own log says why; often the port or the TLS version"
        " is wrong"
    ),
    ("server", "reset"): (
        "{host} reset the connection in the middle of the handshake: look for a firewall that meddles, or a"
        " wrong port"
    ),
    ("server", "timeout"): (
        "{host} did not answer in TLS: if this port begins in plain text (25, 587), use smtp+starttls://"
        " instead of smtps://"
    ),
    ("server", "other"): "see what {host} itself logs about TLS",
}


def advice_for(
    leg: Leg, cause: Cause, *, host: str = "", names: str = "", not_before: str = "", not_after: str = ""
) -> str:
    """The sentence for a cause, filled in; the leg's general one where it has none of its own."""
    text = ADVICE.get((leg, cause)) or ADVICE[(leg, "other")]
    return text.format(
        host=host or "the server", names=names or "no name at all", not_before=not_before, not_after=not_after
    )
