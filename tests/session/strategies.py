"""Plausible and implausible SMTP from both sides, interleaved, for hypothesis; it knows grammar, no relay."""

from typing import Any, Literal, TypeAlias

from hypothesis import strategies as st

Step: TypeAlias = tuple[Literal["client", "server"], bytes]

CLIENT_LINES = [
    b"EHLO app\r\n",
    b"ehlo app\n",
    b"HELO app\r\n",
    b"LHLO app\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"MAIL FROM:<a@example.com> BODY=8BITMIME PRDR\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"rcpt to:<c@example.com>\n",
    b"DATA\r\n",
    b"Subject: hi\r\n\r\nbody\r\n.\r\n",
    b".\r\n",
    b"..stuffed\r\n",
    b"body\n.\nMAIL FROM:<x@example.com>\r\n",
    b"\r\n.\r",
    b"BDAT 5\r\nhello",
    b"BDAT 5 LAST\r\nhello",
    b"BDAT 0 LAST\r\n",
    b"BDAT 0\r\n",
    b"BDAT 7 LAST\r\nQUIT\r\nX",
    b"BDAT -1\r\n",
    b"BDAT 5 FIRST\r\nhello",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"NOOP \xc3\xbc \xff\0\r\n",
    b"VRFY a\r\n",
    b"HELP\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGFsaWNlAHMzY3JldA==\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH CRAM-MD5\r\n",
    b"AUTH GSSAPI =\r\n",
    b"AUTH\r\n",
    b"YWxpY2U=\r\n",
    b"*\r\n",
    b"\r\n",
    b" \t\n",
    b"XCLIENT NAME=x LOGIN=bob\r\n",
    b"XEXCH50 4 2\r\n",
    b"abcd",
    b"TURN\r\n",
    b"BURL imap://u@h/INBOX;urlauth=submit+u:internal:9 LAST\r\n",
    b"FROB nicate\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"\x00\x00\x00\x02zz",
    b"MAIL FROM:<a@",
    b"\r",
    b"\n",
]
SERVER_LINES = [
    b"220 mx ESMTP\r\n",
    b"220-mx wait\r\n",
    b"220\r\n",
    b"220 2.0.0 go ahead\r\n",
    b"250 ok\r\n",
    b"250 2.1.0 ok\r\n",
    b"250\r\n",
    b"250\tok\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN SCRAM-SHA-1-PLUS\r\n250 XCLIENT\r\n",
    b"250-mx\r\n250 STARTTLS\r\n",
    b"250-mx\n250 CHUNKING\n",
    b"250-first\r\n",
    b"250-mx\r\n550 mixed\r\n",
    b"354 go\r\n",
    b"334 VXNlcm5hbWU6\r\n",
    b"334 \r\n",
    b"235 2.7.0 in\r\n",
    b"535 5.7.8 no\r\n",
    b"353 each\r\n",
    b"350 what\r\n",
    b"503 5.5.1 bad sequence\r\n",
    b"550 5.1.1 no such user\r\n",
    b"451 later\r\n",
    b"421 4.3.2 bye\r\n",
    b"221 bye\r\n",
    b"554 no\r\n",
    b"\r\n",
    b"hello there\r\n",
    b"25",
    b"9x9 no code\r\n",
    b"250 \xff\xfe\r\n",
    b"999 \r\n",
    b"\0\0\r\n",
]
LIKELY_PAIRS = [
    (b"EHLO app\r\n", b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"),
    (b"EHLO app\r\n", b"250 mx\r\n"),
    (b"MAIL FROM:<a@example.com>\r\n", b"250 ok\r\n"),
    (b"RCPT TO:<b@example.com>\r\n", b"250 ok\r\n"),
    (b"RCPT TO:<b@example.com>\r\n", b"550 no\r\n"),
    (b"DATA\r\n", b"354 go\r\n"),
    (b"DATA\r\n", b"503 no\r\n"),
    (b"Subject: hi\r\n\r\nbody\r\n.\r\n", b"250 queued\r\n"),
    (b"Subject: hi\n\nbody\n.\n", b"250 queued\r\n"),
    (b"BDAT 5 LAST\r\nhello", b"250 queued\r\n"),
    (b"BDAT 5\r\nhello", b"250 ok\r\n"),
    (b"AUTH PLAIN\r\n", b"334 \r\n"),
    (b"AGFsaWNlAHMzY3JldA==\r\n", b"235 in\r\n"),
    (b"STARTTLS\r\n", b"220 go\r\n"),
    (b"STARTTLS\r\n", b"454 no\r\n"),
    (b"NOOP\r\n", b"250 ok\r\n"),
    (b"RSET\r\n", b"250 ok\r\n"),
    (b"XCLIENT NAME=x\r\n", b"220 again\r\n"),
    (b"AUTH GSSAPI =\r\n", b"235 in\r\n"),
    (b"TURN\r\n", b"250 ok\r\n"),
    (b"XEXCH50 4 2\r\n", b"354 go\r\n"),
    (b"QUIT\r\n", b"221 bye\r\n"),
    (b"\r\n", b""),
]


def _exchange(pair: tuple[bytes, bytes]) -> list[Step]:
    steps: list[Step] = [("client", pair[0]), ("server", pair[1])]
    return [step for step in steps if step[1]]


client_octets = st.one_of(st.sampled_from(CLIENT_LINES), st.binary(min_size=1, max_size=12))
server_octets = st.one_of(st.sampled_from(SERVER_LINES), st.binary(min_size=1, max_size=12))
exchanges = st.sampled_from(LIKELY_PAIRS).map(_exchange)
pipelined = st.lists(st.sampled_from(LIKELY_PAIRS), min_size=2, max_size=4).map(
    lambda pairs: [
        *([("client", b"".join(asked for asked, _ in pairs))]),
        *([("server", said)] if (said := b"".join(said for _, said in pairs)) else []),
    ]
)
odd_steps = st.one_of(
    st.tuples(st.just("client"), client_octets), st.tuples(st.just("server"), server_octets)
).map(lambda step: [step])


def _flat(runs: list[list[Step]]) -> list[Step]:
    return [step for run in runs for step in run]


interleavings = st.builds(
    lambda begin, rest: begin + _flat(rest),
    st.sampled_from([[("server", b"220 mx ESMTP\r\n")], [], [("server", b"554 go away\r\n")]]),
    st.lists(st.one_of(exchanges, exchanges, pipelined, odd_steps), max_size=12),
)
"""What both sides say, in order: a list of (side, octets), no two neighbours glued together."""

relay_options = st.fixed_dictionaries(
    {},
    optional={
        "is_client_tls": st.booleans(),
        "server_tls": st.sampled_from(["in-step", "starttls", "implicit"]),
        "is_lmtp": st.booleans(),
        "require_tls": st.booleans(),
        "accept_proxy_protocol": st.just(True),
        "is_tunnel": st.just(True),
        "is_client_loopback": st.booleans(),
        "is_server_loopback": st.booleans(),
        "strict_ehlo": st.booleans(),
    },
).map(lambda options: _possible(dict(options)))


def _possible(options: dict[str, Any]) -> dict[str, Any]:
    """What no configuration would give: a tunnel opens no TLS, and has nothing to upgrade."""
    if options.get("is_tunnel"):
        options["is_client_tls"] = False
        if options.get("server_tls") == "starttls":
            options["server_tls"] = "in-step"
    return options
