"""The address in a MAIL or RCPT line, however it was written; it judges no address and never raises."""

import re

# As nearly all lines are written: nothing quoted, no blanks, no source route.
_PLAIN = re.compile(r'(?:MAIL FROM|RCPT TO):<([^">:\s]*)>', re.IGNORECASE)
# RFC 5321 4.1.2 Path. Real clients also put blanks after the colon, leave the angle brackets out, or
# never close a quote; what stands there is then taken as far as it goes.
_PREFIX = re.compile(r"\s*(?:MAIL|RCPT|SEND|SOML|SAML)\b\s*(?:(?:FROM|TO)\b\s*:?)?\s*", re.IGNORECASE)
_IN_BRACKETS = re.compile(r'<((?:"(?:[^"\\]|\\.)*"|[^">])*)')
_BARE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"\s])*')
_SOURCE_ROUTE = re.compile(r"@[^:]*:")


def parse_path(line: str) -> str:
    """The mailbox of a MAIL or RCPT line, without brackets and without a source route (RFC 5321 4.1.2).

    Args:
        line: the whole line; its line end may stand there or not.

    Returns:
        The address as written; "" for the null path `<>` and where there is none.
    """
    plain = _PLAIN.match(line)
    return plain[1] if plain is not None else parse_odd_path(line)


def parse_odd_path(line: str) -> str:
    """The same for a line of any form, at more cost."""
    prefix = _PREFIX.match(line)
    rest = line[prefix.end() :] if prefix else line.strip()
    bracketed = _IN_BRACKETS.match(rest)
    if bracketed is not None:
        path = bracketed[1].strip()
    else:
        bare = _BARE.match(rest)
        path = bare[0] if bare else ""
    route = _SOURCE_ROUTE.match(path)
    return path[route.end() :] if route else path
