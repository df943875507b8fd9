"""Messages of the client, after DATA and in BDAT's chunks: passed on as they come, recorded in pieces."""

from typing import Final

import msgspec

from smtpproxy.session import effects as fx
from smtpproxy.session.asking import Asking
from smtpproxy.session.content import ContentCutter
from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import CommandTurn, ContentTurn, Policy
from smtpproxy.session.events import Command
from smtpproxy.session.options import RelayOptions
from smtpproxy.wire.commands import argument_of, parse_bdat

STALL_S: Final = 1.0
"""After this long without an end, what has come of a message is recorded."""


class Messages(Asking):
    """The layer that carries content."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._is_stall_watched = False
        self._chunk_ends_message = False
        self._chunk_turn: tuple[Expectation, CommandTurn] | None = None
        self._shown = bytearray()
        """What the policy will be shown of the content at hand, where it wants to see more than a piece."""

    def _read_data(self, data: bytes, pos: int) -> int:
        content = self._content
        assert content is not None
        end = self._scanner.scan(data, pos)
        is_complete = end >= 0
        chunk = data if pos == 0 and end in (-1, len(data)) else data[pos : end if is_complete else len(data)]
        if self._has_server:
            self._send("server", chunk)
        else:
            self._keep_for_policy(chunk)
        for piece in content.add(chunk):
            self._add_content(piece)
        if is_complete:
            self._on_terminator(content)
            return end
        self._watch_stall()
        return len(data)

    def _on_terminator(self, content: ContentCutter) -> None:
        piece = content.finish(3)
        if piece:
            self._add_content(piece)
        n = self._add_content(b".\r\n", end=True)
        self._content = None
        self._move("complete")
        owed = Expectation(".", n, remaining=None)
        if not self._has_server:
            octets = content.octets - 3
            self._decide(owed, ContentTurn(octets=octets, sample=self._take_shown(octets) or content.sample))
            return
        owed.is_optional = self._is_answered_early
        self._fifo.append(owed)

    def _begin_chunk(self, owed: Expectation, event: Command, line: bytes) -> None:
        parsed = parse_bdat(argument_of(line))
        if parsed is None:
            self._add_finding("bad-bdat", about=event.n)
            return
        event.size, event.last = parsed
        if self._content is None:
            self._facts.messages += 1
            self._content = ContentCutter(is_eight_bit_ok=True, is_binary_ok=True)
            self._is_message_refused = False
        self._chunk_left = event.size
        self._chunk_ends_message = event.last
        if event.last:
            owed.verb = "."
            owed.remaining = None
        if self._chunk_left:
            self._move("count")
        else:
            self._on_chunk_end()

    def _read_chunk(self, data: bytes, pos: int) -> int:
        end = min(len(data), pos + self._chunk_left)
        chunk = data[pos:end]
        self._chunk_left -= len(chunk)
        if self._has_server:
            self._send("server", chunk)
        else:
            self._keep_for_policy(chunk)
        content = self._content
        if content is None:
            self._add_opaque(chunk, from_="client", to="server")  # XEXCH50's blob is no message
        else:
            for piece in content.add(chunk):
                self._add_content(piece)
        if not self._chunk_left:
            self._on_chunk_end()
        else:
            self._watch_stall()
        return end

    def _on_chunk_end(self) -> None:
        content = self._content
        if self._state == "chunk":
            self._move("complete")
        if content is None:
            return
        piece = content.finish(0)
        if piece or self._chunk_ends_message:
            self._add_content(piece, end=self._chunk_ends_message)
        if self._chunk_ends_message:
            self._content = None
        if not self._has_server and self._chunk_turn is not None:
            owed, turn = self._chunk_turn
            self._chunk_turn = None
            if self._shown:
                turn = msgspec.structs.replace(turn, sample=self._take_shown(turn.size))
            self._decide(owed, turn)

    def _keep_for_policy(self, chunk: bytes) -> None:
        room = self._options.policy_content_octets - len(self._shown)
        if room > 0:
            self._shown += chunk[:room]

    def _take_shown(self, octets: int) -> bytes:
        """What was kept of a content of so many octets."""
        shown = bytes(self._shown[:octets])
        self._shown = bytearray()
        return shown

    def _watch_stall(self) -> None:
        if not self._is_stall_watched:
            self._is_stall_watched = True
            self._do(fx.Wait(STALL_S, "stall"))

    def _on_stall(self) -> None:
        self._is_stall_watched = False
        content = self._content
        if content is None or not content.has_pending:
            return
        piece = content.take_lines()
        if piece:
            self._add_content(piece)
        self._watch_stall()
