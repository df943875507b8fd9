"""The API of sessions: lists, one, its events, its transcript, its recording; deleting them."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Path, Query, Response

from smtpproxy.errors import NotFoundError, StoreError
from smtpproxy.inspect.transcript import Transcript
from smtpproxy.recording.files import SUFFIX
from smtpproxy.store.importing import delete_session
from smtpproxy.store.reader import LogReader
from smtpproxy.web import models
from smtpproxy.web.answers import ApiError, Streamed, as_download, json_answer
from smtpproxy.web.context import Context
from smtpproxy.web.filtering import FilterText, read_filter
from smtpproxy.web.hub import spliced
from smtpproxy.web.lists import CURSOR_PATTERN, all_matching, session_page
from smtpproxy.web.reading import session_events

SessionName: TypeAlias = Annotated[
    str,
    Path(
        description="A session's id, the beginning of exactly one, or `latest`.",
        pattern="^[0-9A-Za-z-]{1,64}$",
        examples=["latest"],
    ),
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=500)]
Cursor: TypeAlias = Annotated[
    str | None, Query(pattern=CURSOR_PATTERN, description="The `cursor` of the page before.")
]
MAX_REMEMBERED_PLACES: Final = 1000
TRANSCRIPT_CONTENT_LINES: Final = 200
MAX_N: Final = 2**53 - 1


class _Numbered(msgspec.Struct):
    """As much of a line as tells which event of its session it is."""

    n: int


_decode_n = msgspec.json.Decoder(_Numbered).decode


def sessions_router(context: Context) -> APIRouter:
    """Everything under `/api/v1/sessions` but messages."""
    router = APIRouter(prefix="/sessions", tags=["sessions"])
    places = _Places()

    @router.get("", response_model=models.Sessions)
    async def list_sessions(
        filter: FilterText = "",  # noqa: A002 - the parameter's name in the URL
        limit: Limit = 50,
        cursor: Cursor = None,
        probes: Annotated[bool, Query(description="Connections on which nobody said a word, too.")] = False,
    ) -> Response:
        """Sessions, newest first."""
        wanted = read_filter(filter)

        def page(reader: LogReader) -> Response:
            found = session_page(reader, wanted, limit=limit, cursor=cursor, has_probes=probes)
            return json_answer(found)

        if context.readers is None:
            return json_answer(models.Sessions(sessions=[], cursor=None))
        return await context.read(page)

    @router.delete("", response_model=models.Deleted)
    async def delete_sessions(
        filter: Annotated[  # noqa: A002 - the parameter's name in the URL
            str, Query(min_length=1, description="Which sessions; `*` is every one that has ended.")
        ],
    ) -> Response:
        """Delete the sessions that match; those that are still open stay."""
        wanted = read_filter(filter)
        if not filter.strip():
            raise ApiError(400, "bad-filter", "say which sessions: filter=* deletes all", column=1)
        chosen = await context.read(lambda reader: all_matching(reader, wanted))
        deleted = 0
        for session in chosen:
            if await _delete(context, session):
                deleted += 1
        return json_answer(models.Deleted(deleted=deleted))

    @router.get("/{id}", response_model=models.SessionDetail)
    async def one(id: SessionName) -> Response:  # noqa: A002 - the parameter's name in the URL
        """One session."""

        def look(reader: LogReader) -> Response:
            session = reader.resolve(id)
            listed = models.Session.model_validate(reader.summary(session))
            first, last = reader.span(session)
            return json_answer(models.SessionDetail(**dict(listed), first_seq=first, last_seq=last))

        return await context.read(look)

    @router.delete("/{id}", status_code=204)
    async def delete_one(id: SessionName) -> Response:  # noqa: A002 - the parameter's name in the URL
        """Delete a session that has ended."""
        session = await context.read(lambda reader: reader.resolve(id))
        if not await _delete(context, session):
            raise ApiError(
                409, "still-open", f"session {session} is still open; it can be deleted when it has ended"
            )
        return Response(status_code=204)

    @router.get("/{id}/events", response_model=models.Events)
    async def events(
        id: SessionName,  # noqa: A002 - the parameter's name in the URL
        after_n: Annotated[int, Query(ge=-1, le=MAX_N, description="The last `n` already seen.")] = -1,
        limit: Limit = 500,
        content: Annotated[
            Literal["full", "none"], Query(description="none: messages' octets are only counted.")
        ] = "full",
    ) -> Response:
        """A session's events, in order; a page is at most `limit` of them, and about 1 MiB."""

        def look(reader: LogReader) -> Response:
            session = reader.resolve(id)
            _, last_seq = reader.span(session)
            rows = reader.rows(session, after_seq=places.seq(session, after_n), limit=limit)
            lines: list[bytes] = []
            n, seq = after_n, 0
            while rows and not lines:
                for row in rows:
                    seq = row[0]
                    number = _decode_n(row[3]).n
                    if number > after_n:
                        n = number
                        lines.append(spliced(row, content))
                if not lines:
                    rows = reader.rows(session, after_seq=seq, limit=limit)
            has_more = bool(lines) and seq < last_seq
            if has_more:
                places.remember(session, n, seq)
            return Response(
                b'{"events":[%s],"next":%s}' % (b",".join(lines), b"%d" % n if has_more else b"null"),
                media_type="application/json",
            )

        return await context.read(look)

    @router.get(
        "/{id}/transcript",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def transcript(id: SessionName) -> Response:  # noqa: A002 - the parameter's name in the URL
        """A session as people read it, with the first 200 lines of each message."""
        session = await context.read(lambda reader: reader.resolve(id))

        def lines(reader: LogReader) -> Iterator[bytes]:
            shown = Transcript(content_lines=TRANSCRIPT_CONTENT_LINES, has_times=True)
            for event in session_events(reader, session):
                for line in shown.render(event):
                    yield line.text.encode("utf-8", "backslashreplace") + b"\n"

        return Streamed(context.reading.stream(lines), media_type="text/plain; charset=utf-8")

    @router.get(
        "/{id}/recording",
        response_class=Response,
        responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
    )
    async def recording(id: SessionName) -> Response:  # noqa: A002 - the parameter's name in the URL
        """A session as a recording file."""
        session = await context.read(lambda reader: reader.resolve(id))
        return Streamed(
            context.reading.stream(lambda reader: (line + b"\n" for line in reader.lines(session))),
            media_type="application/jsonl",
            headers=as_download(session + SUFFIX),
        )

    return router


async def _delete(context: Context, session: str) -> bool:
    """Delete a session; false where it is still open, or gone already."""
    path = context.around.store
    assert path is not None  # there was a reader
    summary = await context.read(lambda reader: _summary_or_none(reader, session))
    if summary is None or summary.outcome == "open":
        return False
    try:
        await context.reading.run_apart(lambda: delete_session(path, session))
    except NotFoundError:
        return False
    except StoreError as error:
        raise ApiError(503, "store", str(error)) from None
    return True


def _summary_or_none(reader: LogReader, session: str) -> models.Session | None:
    try:
        return models.Session.model_validate(reader.summary(session))
    except NotFoundError:
        return None


class _Places:
    """Where pages of events ended, so that the next page need not count from the session's beginning."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, int], int] = OrderedDict()

    def seq(self, session: str, n: int) -> int:
        """A position at or before that event's; 0 where none is known."""
        return self._places.get((session, n), 0)

    def remember(self, session: str, n: int, seq: int) -> None:
        """That event stands there."""
        self._places[session, n] = seq
        while len(self._places) > MAX_REMEMBERED_PLACES:
            self._places.popitem(last=False)
