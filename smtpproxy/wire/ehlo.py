"""The EHLO reply: its keywords, and the one rewrite we make; it knows nothing of legs and policies' reasons.

Only whole lines are added or taken away, and AUTH mechanisms within theirs; order, case and spacing of the
rest stay (RFC 5321 4.1.1.1: a keyword is the line's first word, case-insensitive).
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Literal

HIDDEN_BY_DEFAULT: Final[dict[str, str]] = {
    "XCLIENT": "the server offers it because it trusts our address, not the app's",
    "XFORWARD": "the server offers it because it trusts our address, not the app's",
    "PIPECONNECT": "clients that saw it speak before the greeting",
    "X_PIPE_CONNECT": "clients that saw it speak before the greeting",
    "XEXCH50": "switches the stream's mode",
    "X-EXPS": "switches the stream's mode",
    "X-ANONYMOUSTLS": "starts TLS behind our back",
    "X-LINK2STATE": "switches the stream's mode",
    "TURN": "reverses the roles on the connection",
    "ATRN": "reverses the roles on the connection",
    "XADR": "Exchange's own",
    "XSTA": "Exchange's own",
    "XGEN": "Exchange's own",
}
"""Keywords that do not reach the client unless the route says so, each with the reason."""

KNOWN_KEYWORDS: Final[frozenset[str]] = frozenset(
    [
        "STARTTLS",
        "AUTH",
        "SIZE",
        "PIPELINING",
        "CHUNKING",
        "BINARYMIME",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "DELIVERBY",
        "FUTURERELEASE",
        "MT-PRIORITY",
        "LIMITS",
        "NO-SOLICITING",
        "ETRN",
        "VRFY",
        "EXPN",
        "HELP",
        "REQUIRETLS",
        "PRDR",
        "CHECKPOINT",
        "SEND",
        "SOML",
        "SAML",
        "BURL",
        "CONPERM",
        "CONNEG",
        "MTRK",
        "UTF8SMTP",
        "RRVS",
        "VERP",
        "XDEBUG",
        "XSHADOW",
        "XSHADOWREQUEST",
        "XOORG",
        "XPROXY",
        "XPROXYFROM",
        "XPROXYTO",
        "XRDST",
        "XSESSIONPARAMS",
        "XMESSAGECONTEXT",
        "TIME",
    ]
) | frozenset(HIDDEN_BY_DEFAULT)

_KEYWORD = re.compile(rb"250[ \-]([^\s=]+)")
_SECURITY_LAYER_MECHANISMS = frozenset({"GSSAPI", "GSS-SPNEGO", "DIGEST-MD5", "KERBEROS_V4"})
StartTlsShown = Literal["keep", "hide", "show"]


def keyword_of(line: bytes) -> str:
    """The upper-cased keyword of a line of an EHLO reply; the legacy `AUTH=…` counts as AUTH."""
    # A server says the same lines in every session.
    return _short_keyword_of(line) if len(line) <= _CACHED_LINE_BYTES else _parse_keyword(line)


def _parse_keyword(line: bytes) -> str:
    match = _KEYWORD.match(line)
    return match[1].upper().decode("latin-1") if match else ""


_CACHED_LINE_BYTES: Final = 128
_short_keyword_of: Final = lru_cache(maxsize=1024)(_parse_keyword)


def keywords_of(lines: Iterable[bytes]) -> list[str]:
    """The keywords of an EHLO reply, in order, without its first line."""
    return [keyword_of(line) for line in list(lines)[1:]]


def rewrite_ehlo(
    lines: list[bytes], *, is_hidden: Callable[[str], bool], starttls: StartTlsShown, hides_external: bool
) -> list[bytes]:
    """The EHLO reply as the client is to see it.

    Args:
        lines: the reply's lines with their line ends, a complete 250 reply.
        is_hidden: whether a keyword is to be taken away.
        starttls: hide it, show it (once, at the end, where the server has none), or keep what there is.
        hides_external: AUTH EXTERNAL would need the app's own client certificate at the server.

    Returns:
        The lines to send; equal to `lines` where there is nothing to change.
    """
    kept = lines[:1]
    has_starttls = False
    mechanisms = _shown_mechanisms(lines, hides_external=hides_external)
    for line in lines[1:]:
        keyword = keyword_of(line)
        if keyword == "STARTTLS":
            if starttls == "hide" or has_starttls:
                continue
            has_starttls = True
        elif is_hidden(keyword):
            continue
        elif keyword == "AUTH":
            shown = _filter_auth(line, mechanisms)
            if shown is None:
                continue
            kept.append(shown)
            continue
        kept.append(line)
    if starttls == "show" and not has_starttls:
        kept.append(b"250 STARTTLS\r\n")
    return lines if kept == lines else _joined(kept)


def with_starttls(lines: list[bytes], *, is_shown: bool) -> list[bytes]:
    """An EHLO reply with STARTTLS in it, or without; nothing else is touched.

    Args:
        lines: the reply's lines with their line ends, a complete 250 reply.
        is_shown: it is put at the end where it is missing; else it is taken away.
    """
    kept = [line for line in lines[1:] if is_shown or keyword_of(line) != "STARTTLS"]
    if is_shown and "STARTTLS" not in keywords_of(lines):
        kept.append(b"250 STARTTLS\r\n")
    return lines if kept == lines[1:] else _joined([lines[0], *kept])


def _joined(lines: list[bytes]) -> list[bytes]:
    """RFC 5321 4.2.1: the last line is the one with a space after its code."""
    return [_separated(line, b"-") for line in lines[:-1]] + [_separated(lines[-1], b" ")]


def _separated(line: bytes, separator: bytes) -> bytes:
    """The line with that separator after its code; a bare code (RFC 5321 4.2) has none yet."""
    return line[:3] + separator + line[4 if line[3:4] in (b" ", b"-", b"\t") else 3 :]


def _mechanisms_of(line: bytes) -> list[str]:
    return [word.upper().decode("latin-1") for word in re.split(rb"[\s=]+", line[4:].strip())[1:]]


def _shown_mechanisms(lines: list[bytes], *, hides_external: bool) -> frozenset[str]:
    """Which AUTH mechanisms the client may see.

    Hiding only the -PLUS twins breaks plain SCRAM for clients that could bind (gs2 flag `y`, RFC 5802 6):
    where the server offers any -PLUS the whole SCRAM family goes, as long as another usable one remains.
    """
    offered = {name for line in lines[1:] if keyword_of(line) == "AUTH" for name in _mechanisms_of(line)}
    usable = {
        name for name in offered if not name.endswith("-PLUS") and name not in _SECURITY_LAYER_MECHANISMS
    }
    if hides_external:
        usable.discard("EXTERNAL")
    if any(name.endswith("-PLUS") for name in offered):
        others = {name for name in usable if not name.startswith("SCRAM-")}
        usable = others or usable
    return frozenset(usable)


def _filter_auth(line: bytes, shown: frozenset[str]) -> bytes | None:
    """The AUTH line without the mechanisms that are not shown; None where none remains."""
    names = _mechanisms_of(line)
    kept = [name for name in names if name in shown]
    if len(kept) == len(names):
        return line
    if not kept:
        return None
    body = line.rstrip(b"\r\n")
    end = line[len(body) :]
    for name in set(names) - shown:
        body = re.sub(rb"(?i)[ \t]+" + re.escape(name.encode("latin-1")) + rb"(?=[ \t]|\Z)", b"", body)
        # The legacy spelling has its first mechanism behind the equals sign.
        body = re.sub(rb"(?i)=" + re.escape(name.encode("latin-1")) + rb"(?:[ \t]+|\Z)", b"=", body)
    return body + end
