"""The findings: every stable code and what it means, as one table; docs/findings.md is rendered from it.

A finding's `text` in a recording starts from the meaning here and adds what happened.
"""

from typing import Final

FINDINGS: Final[dict[str, str]] = {
    # what the client does
    "pregreet": "the client spoke before the server's greeting (RFC 5321 3.1 wants it to wait)",
    "early-bytes": "the client went on before a reply it had to wait for (RFC 2920 3.1)",
    "bare-lf": "lines end in LF alone; RFC 5321 2.3.8 wants CRLF",
    "bare-cr": "a CR without LF stands in a line",
    "nul": "a NUL octet stands in the conversation",
    "eight-bit": "8-bit octets in a message sent without BODY=8BITMIME or SMTPUTF8 (RFC 6152)",
    "long-line": "a line of the message is longer than 998 octets (RFC 5322 2.1.1)",
    "oversize-line": "a command or reply line is longer than is kept whole; it was passed on in pieces",
    "body-after-refusal": "DATA was refused, yet the client sent a message: the server takes it for commands",
    "unknown-verb": "the client sent a command that is not SMTP",
    "tls-on-plain-port": "the client began with TLS on a plain port; it should use smtps:// or STARTTLS",
    "plain-on-tls-port": "the client spoke plain SMTP on an implicit-TLS port",
    "bad-bdat": "BDAT without a proper size; the framing is lost",
    "bad-proxy-header": "the PROXY protocol header is missing or malformed",
    "app-left-before-final-reply": (
        "the client left after its message and before the reply: it does not know whether it was taken"
    ),
    "client-left-after-tls": (
        "the client left right after the TLS handshake; if it distrusts our certificate: smtpproxy trust"
    ),
    "client-reset": "the client reset the connection",
    "truncated-tls": "the peer ended TLS without close_notify",
    # what the server does
    "server-reset": "the server reset the connection",
    "server-left": "the server closed the connection while a reply was owed",
    "unsolicited-reply": "the server sent a reply that nothing asked for",
    "malformed-reply": "a reply line has no code (RFC 5321 4.2)",
    "mixed-codes": "the lines of one reply have different codes; the last one counts",
    "early-reply": "the server answered in the middle of the message",
    "smuggling-suspect": "the server saw the message end at something other than CRLF.CRLF (SMTP smuggling)",
    "lenient-terminator": "the message holds what a lenient server takes for its end (SMTP smuggling)",
    "unknown-extension": "the server offers an extension that smtpproxy does not know; it was passed on",
    "ehlo-too-large": "the EHLO reply is larger than smtpproxy rewrites; it was passed on as it came",
    "desync": "replies and commands no longer match; relayed as opaque octets from here",
    # security
    "starttls-injection": "octets were glued to STARTTLS in clear; they were never interpreted",
    "cleartext-upstream": "credentials go to a server off this machine without TLS",
    "cleartext-auth": "credentials came from a client off this machine without TLS",
    "upstream-not-verified": "the server's certificate is not checked (--upstream-insecure)",
    "keep-secrets": "secrets are kept in this recording (--keep-secrets)",
    "starttls-missing": "the server does not offer STARTTLS, and this route asks for it",
    "channel-binding": "the client could bind to the TLS channel, which no proxy can pass on (RFC 5802 6)",
    # what stopped us
    "upstream-unreachable": "the server cannot be reached",
    "upstream-tls": "TLS with the server failed",
    "client-tls": "TLS with the client failed",
    "limit": "a limit of this route was reached",
    "recording-failed": "sessions cannot be recorded, and the operator asked to refuse them then",
    "timeout": "nothing was heard for too long",
    "shutdown": "smtpproxy was stopped",
    "internal-error": "smtpproxy failed in this session; please report it",
}
