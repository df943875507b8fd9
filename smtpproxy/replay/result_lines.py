"""Results as lines of JSON, for programs: one for each session and, at the end, one with the numbers."""

import msgspec

from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.tally import Summary


def encode_result(result: SessionResult) -> bytes:
    """One line without its end: the fields of SessionResult after `"kind":"result"`."""
    return b'{"kind":"result",' + msgspec.json.encode(result)[1:]


def encode_summary(summary: Summary) -> bytes:
    """One line without its end: the fields of Summary after `"kind":"summary"`."""
    return msgspec.json.encode(summary)
