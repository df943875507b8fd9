"""The parameters of MAIL and RCPT, each checked by one row of a table; it knows no address and no state."""

import re
from collections.abc import Mapping
from typing import Final

from smtpproxy.sandbox.replies import Refusal, shown

_XTEXT: Final = rb"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})"
_KEYWORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*\Z")

MAIL_PARAMETERS: Final[Mapping[str, re.Pattern[bytes] | None]] = {
    "SIZE": re.compile(rb"[0-9]{1,20}\Z"),  # RFC 1870 4
    "BODY": re.compile(rb"(?i:7BIT|8BITMIME|BINARYMIME)\Z"),  # RFC 6152 2, RFC 3030 3
    "SMTPUTF8": None,  # RFC 6531 3.4
    "RET": re.compile(rb"(?i:FULL|HDRS)\Z"),  # RFC 3461 4.3
    "ENVID": re.compile(rb"(?=.{1,100}\Z)" + _XTEXT + rb"+\Z"),  # RFC 3461 4.4
    "AUTH": re.compile(_XTEXT + rb"{1,500}\Z"),  # RFC 4954 5; `<>` is xtext too
}
"""What the value must be; None where there is none."""

RCPT_PARAMETERS: Final[Mapping[str, re.Pattern[bytes] | None]] = {
    # RFC 3461 4.1: NEVER stands alone.
    "NOTIFY": re.compile(rb"(?i:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2})\Z"),
    # RFC 3461 4.2; under SMTPUTF8 it may hold UTF-8 (RFC 6533 3).
    "ORCPT": re.compile(rb"[A-Za-z0-9-]{1,64};(?:[!-*,-<>-~\x80-\xff]|\+[0-9A-Fa-f]{2}){1,500}\Z"),
}


def parse_parameters(text: bytes, table: Mapping[str, re.Pattern[bytes] | None]) -> dict[str, str]:
    """Read and check what follows the path.

    Returns:
        Keyword → value, both upper-cased but for the values that are not ours to fold; "" where the keyword
        has none.

    Raises:
        Refusal: 555 5.5.4 for one that was never offered (RFC 5321 4.1.1.11), 501 5.5.4 for a bad one.
    """
    found: dict[str, str] = {}
    for word in text.split():
        keyword, equals, value = word.partition(b"=")
        if not _KEYWORD.match(keyword):
            raise Refusal(501, "5.5.4", "Bad parameter syntax; write KEYWORD=value")
        name = keyword.decode().upper()
        if name not in table:
            raise Refusal(555, "5.5.4", f"Unsupported option: {shown(name)}")
        if name in found:
            raise Refusal(501, "5.5.4", f"{name} is given twice")
        pattern = table[name]
        is_good = not equals if pattern is None else pattern.match(value) is not None
        if not is_good:
            raise Refusal(501, "5.5.4", f"Bad value of {name}" if pattern else f"{name} takes no value")
        found[name] = value.decode("latin-1")
    return found
