"""The sandbox's replies as octets: printable, within their limits; it decides nothing."""

from typing import Final

_MAX_TEXT: Final = 500
_MAX_SHOWN: Final = 80


class Refusal(Exception):  # noqa: N818 - an answer to the client, no error of the program
    """A command is refused; it carries the reply and never leaves the package."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.reply = render_reply(code, status, text)


def render_reply(code: int, status: str, *lines: str) -> bytes:
    """A whole reply (RFC 5321 4.2), the enhanced status code on each line where there is one (RFC 2034 4).

    Args:
        status: the enhanced code, "" where RFC 2034 3 wants none: greeting, HELO, EHLO and 3xx.
        lines: at least one; what is not printable ASCII becomes `?`, and each is cut so that its line is at
            most 512 octets (RFC 5321 4.5.3.1.5).
    """
    texts = [_printable(f"{status} {line}" if status else line) for line in lines]
    body = [f"{code}-{text}\r\n" for text in texts[:-1]]
    return "".join([*body, f"{code} {texts[-1]}\r\n"]).encode()


def shown(text: str) -> str:
    """Something the client said, short enough to stand in a reply."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _printable(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:_MAX_TEXT]
