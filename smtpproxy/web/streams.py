"""A byte stream that has been read from already and gives that back first; it knows no protocol."""

import trio


class ReplayedStream(trio.abc.Stream):
    """A stream whose first octets come from us.

    `trio_websocket` wants to read the upgrade request itself, after we had to read it to know what it is.
    """

    def __init__(self, stream: trio.SocketStream, first: bytes) -> None:
        """`first` is received before anything else; closing this closes `stream`."""
        self._stream = stream
        self._first = first

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes next; b"" at the end."""
        if self._first:
            await trio.lowlevel.checkpoint()
            end = len(self._first) if max_bytes is None else max_bytes
            piece, self._first = self._first[:end], self._first[end:]
            return piece
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it; see trio.SocketStream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.SocketStream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream underneath."""
        await self._stream.aclose()
