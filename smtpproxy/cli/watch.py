"""`smtpproxy watch`: the conversations of a running proxy as they happen, in another terminal."""

import os
import signal
import stat
import sys
from typing import TYPE_CHECKING, Final

import click

from smtpproxy.cli.console import EventLines, LiveTranscript, Output
from smtpproxy.cli.filtering import FilterCommand, point_at, read_filter
from smtpproxy.cli.harmless import harmless_json
from smtpproxy.cli.recorded import say
from smtpproxy.errors import FilterError, SmtpProxyError

if TYPE_CHECKING:
    from smtpproxy.web.client import LiveClient

DEFAULT_URL: Final = "http://127.0.0.1:8025"
MAX_SEQ: Final = 2**63 - 1
EXIT_READER_GONE: Final = 1


@click.command(cls=FilterCommand)
@click.argument("words", nargs=-1, metavar="[FILTER ...]")
@click.option(
    "--url",
    envvar="SMTPPROXY_WEB_URL",
    default=DEFAULT_URL,
    metavar="URL",
    help=f"The proxy's page.  [default: {DEFAULT_URL}]",
)
@click.option(
    "--after",
    type=click.IntRange(0, MAX_SEQ),
    metavar="SEQ",
    help="Begin behind this position of the log; 0 is its beginning.  [default: now]",
)
@click.option("--json", "is_json", is_flag=True, help="The event lines, as they come.")
@click.option(
    "--token",
    envvar="SMTPPROXY_WEB_TOKEN",
    default="",
    metavar="TOKEN",
    help="What the page wants to know off loopback; better given by SMTPPROXY_WEB_TOKEN.",
)
def watch(words: tuple[str, ...], url: str, after: int | None, is_json: bool, token: str) -> int:
    """Watch a running proxy: all conversations, or from the event on that makes each match FILTER.

    It connects again by itself, and goes on where it was. Ctrl-C ends it.
    """
    wanted = read_filter(words)

    import trio

    from smtpproxy.web.client import LiveClient, parse_page_url

    output = _Shown(sys.stdout.fileno(), is_json=is_json)
    watcher = EventLines(output) if is_json else LiveTranscript(output)
    text = "" if wanted.is_everything else wanted.render()
    client = LiveClient(
        parse_page_url(url), show=watcher.show, report=say, wanted=text, after=after, token=token
    )
    try:
        trio.run(_watch, client, output)
    except FilterError as error:
        # By a server that knows less than we do.
        for line in point_at(text, error.column):
            print(line, file=sys.stderr)
        raise
    return EXIT_READER_GONE if output.is_gone else 0


async def _watch(client: "LiveClient", output: "_Shown") -> None:
    """Watch until that ends, a signal comes, or nobody reads any more.

    Raises:
        SmtpProxyError: the client's; not wrapped into a group.
    """
    import trio

    failure: SmtpProxyError | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            async def notice_leaving() -> None:
                await output.wait_until_gone()
                nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            nursery.start_soon(notice_leaving)
            try:
                await client.follow()
            except SmtpProxyError as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Shown(Output):
    """Standard output; JSON that goes to a terminal is made harmless to it."""

    def __init__(self, fd: int, *, is_json: bool) -> None:
        super().__init__(fd)
        self._pipe = fd
        self._has_to_be_harmless = is_json and sys.stdout.isatty()

    async def wait_until_gone(self) -> None:
        """Return when the other end of a pipe is closed, also while nothing is written: `watch | head`."""
        import trio

        if not stat.S_ISFIFO(os.fstat(self._pipe).st_mode):
            await trio.sleep_forever()
        # There is never anything to read at this end: it only wakes when the other one is closed.
        await trio.lowlevel.wait_readable(self._pipe)
        self.is_gone = True

    def write(self, data: bytes) -> None:
        """Write all of it; see Output."""
        if self._has_to_be_harmless:
            lines = data.decode("utf-8", "replace").split("\n")
            data = "\n".join(map(harmless_json, lines)).encode()
        super().write(data)
