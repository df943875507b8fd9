"""A recorded session as tests ask about it: who said what to whom, in octets; it knows only the format."""

import base64
import re
from pathlib import Path
from typing import Any

PLACEHOLDER = b"{{secret}}"


class Recorded:
    """The events of one session, in order, as the JSON lines have them."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.events))

    @property
    def id(self) -> str:
        """The session's id."""
        session: str = self.events[0]["session"]
        return session

    @property
    def is_over(self) -> bool:
        """Whether its end was recorded."""
        return bool(self.events) and self.events[-1]["kind"] == "end"

    @property
    def end(self) -> dict[str, Any]:
        """Its last event."""
        assert self.is_over, self
        return self.events[-1]

    @property
    def outcome(self) -> str:
        """What its end says it came to."""
        outcome: str = self.end["outcome"]
        return outcome

    @property
    def findings(self) -> set[str]:
        """The codes of its findings."""
        return {event["code"] for event in self.of("finding")}

    def of(self, *kinds: str, **fields: object) -> list[dict[str, Any]]:
        """The events of these kinds that have these fields; `from_` stands for `from`."""
        wanted = {name.rstrip("_"): value for name, value in fields.items()}
        return [
            event
            for event in self.events
            if (not kinds or event["kind"] in kinds)
            and all(event.get(name) == value for name, value in wanted.items())
        ]

    def said(self, from_: str, to: str) -> bytes:
        """Every octet that one party said to another, joined."""
        return b"".join(octets(event) for event in self.events if "raw" in event or "raw_b64" in event
                        if (event.get("from"), event.get("to")) == (from_, to))  # fmt: skip

    def heard_by_client(self) -> bytes:
        """Every octet that went to the client, from whomever."""
        return b"".join(octets(event) for event in self.events if event.get("to") == "client")

    def heard_by_server(self) -> bytes:
        """Every octet that went to the server, from whomever."""
        return b"".join(octets(event) for event in self.events if event.get("to") == "server")

    def verbs(self, to: str | None = None) -> list[str]:
        """The commands that were given, to one party or to any; a SASL line is none."""
        return [event["verb"] for event in self.of("command") if to is None or event["to"] == to]

    def codes(self, to: str = "client") -> list[int]:
        """The codes of the replies that one party got."""
        return [event["code"] for event in self.of("reply", to=to)]

    def content(self, message: int = 1) -> bytes:
        """A message as the client meant it: without the terminator and the dot-stuffing (RFC 5321 4.5.2)."""
        wire = b"".join(octets(event) for event in self.of("content", message=message))
        assert wire.endswith(b".\r\n")
        return re.sub(rb"(?m)^\.", b"", wire[:-3])

    def tls(self, leg: str) -> str:
        """The TLS version of a leg, "" where it stayed plain."""
        handshakes = self.of("tls", leg=leg)
        return handshakes[-1].get("version", "") if handshakes else ""


def octets(event: dict[str, Any]) -> bytes:
    """What an event carries, as octets."""
    if "raw_b64" in event:
        return base64.b64decode(event["raw_b64"])
    raw: str = event.get("raw", "")
    return raw.encode()


def forms_of(secret: str) -> set[bytes]:
    """How a secret may turn up: itself, its halves, and what of it is certain in base64 at any alignment."""
    plain = secret.encode()
    half = len(plain) // 2
    forms = {plain, plain[:half], plain[half:]}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # The first and the last group also hold what stands beside the secret.
        certain = encoded[4 if shift else 0 : -4]
        # Twelve characters are nine octets: enough that nothing else reads like it, and a half is found too.
        forms |= {certain[:12], certain[-12:]}
    forms.add(plain.hex().encode())
    return forms


def leaks(folder: Path, *secrets: str) -> list[str]:
    """Every file below that holds a secret in any form, as `file: form`."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            found += [f"{file}: {form!r}" for secret in secrets for form in forms_of(secret) if form in data]
    return found
