"""The API of messages: lists, one taken apart, its octets, its HTML for a sandboxed frame, its files."""

from collections.abc import Callable, Iterator
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Path, Response

from smtpproxy.inspect.mime import HARMLESS_IMAGES
from smtpproxy.store.reader import LogReader, StoredMessage
from smtpproxy.web import models
from smtpproxy.web.answers import ApiError, Streamed, as_download, json_answer
from smtpproxy.web.api_sessions import Cursor, Limit, SessionName
from smtpproxy.web.context import Context
from smtpproxy.web.filtering import FilterText, read_filter
from smtpproxy.web.lists import message_page
from smtpproxy.web.mailbox import Glances, describe_fully, octets_of, read_mail

Number: TypeAlias = Annotated[
    int, Path(ge=1, le=2**31, description="Counts the session's messages from 1.", examples=[1])
]
PartPath: TypeAlias = Annotated[
    str, Path(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){0,30}$", description="A part's `path`.", examples=["1"])
]

HTML_CSP: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""Message HTML: an opaque origin, no script, nothing from the network."""
_HTML_HEADERS: Final = {"content-security-policy": HTML_CSP, "x-dns-prefetch-control": "off"}
_OCTETS: Final = {"schema": {"type": "string", "format": "binary"}}


def messages_router(context: Context) -> APIRouter:
    """`/api/v1/messages`, and the messages of a session."""
    router = APIRouter(tags=["messages"])
    glances = Glances()

    @router.get("/messages", response_model=models.MessagePage)
    async def list_all(
        filter: FilterText = "",  # noqa: A002 - the parameter's name in the URL
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Messages of all sessions, newest first."""
        wanted = read_filter(filter)
        if context.readers is None:
            return json_answer(models.MessagePage(messages=[], cursor=None))
        return await context.read(
            lambda reader: json_answer(message_page(reader, glances, wanted, limit=limit, cursor=cursor))
        )

    @router.get("/sessions/{id}/messages", response_model=models.Messages)
    async def list_of_session(id: SessionName) -> Response:  # noqa: A002 - the parameter's name in the URL
        """The messages of a session, in order."""

        def look(reader: LogReader) -> Response:
            found = reader.messages(reader.resolve(id))
            return json_answer(
                models.Messages(messages=[glances.describe(reader, stored) for stored in found])
            )

        return await context.read(look)

    @router.get("/sessions/{id}/messages/{number}", response_model=models.MessageDetail)
    async def one(id: SessionName, number: Number) -> Response:  # noqa: A002
        """One message, taken apart; of more than 32 MiB the beginning."""
        return await context.read(
            lambda reader: json_answer(describe_fully(reader, _find(reader, id, number)))
        )

    @router.get(
        "/sessions/{id}/messages/{number}/raw",
        response_class=Response,
        responses={200: {"content": {"message/rfc822": _OCTETS}}},
    )
    async def raw(id: SessionName, number: Number) -> Response:  # noqa: A002
        """The message as a file."""
        stored = await _kept(context, id, number)
        return Streamed(
            context.reading.stream(_octets(stored)),
            media_type="message/rfc822",
            headers=as_download(f"{stored.session}-{stored.message}.eml"),
        )

    @router.get(
        "/sessions/{id}/messages/{number}/source",
        response_class=Response,
        responses={200: {"content": {"text/plain": _OCTETS}}},
    )
    async def source(id: SessionName, number: Number) -> Response:  # noqa: A002
        """The message's octets, to be looked at."""
        stored = await _kept(context, id, number)
        return Streamed(context.reading.stream(_octets(stored)), media_type="text/plain; charset=utf-8")

    @router.get(
        "/sessions/{id}/messages/{number}/html",
        response_class=Response,
        responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    )
    async def html(id: SessionName, number: Number) -> Response:  # noqa: A002
        """The message's HTML, fit for a sandboxed frame: it can neither run nor load anything."""

        def look(reader: LogReader) -> str | None:
            mail, _ = read_mail(reader, _find(reader, id, number))
            return mail.html_alone()

        text = await context.read(look)
        if text is None:
            raise ApiError(404, "no-html", "the message has no HTML")
        return Response(
            text.encode("utf-8", "replace"), media_type="text/html; charset=utf-8", headers=_HTML_HEADERS
        )

    @router.get(
        "/sessions/{id}/messages/{number}/parts/{path}",
        response_class=Response,
        responses={200: {"content": {"*/*": _OCTETS}}},
    )
    async def part(id: SessionName, number: Number, path: PartPath) -> Response:  # noqa: A002
        """One part, decoded, as a file."""

        def look(reader: LogReader) -> Response:
            mail, _ = read_mail(reader, _find(reader, id, number))
            found = mail.content(path)
            if found is None:
                raise ApiError(404, "no-part", f"the message has no part {path}")
            described, octets = found
            kind = described.content_type
            return Response(
                octets,
                media_type=kind if kind in HARMLESS_IMAGES else "application/octet-stream",
                headers=as_download(described.filename or f"part-{path}"),
            )

        return await context.read(look)

    return router


def _find(reader: LogReader, name: str, number: int) -> StoredMessage:
    session = reader.resolve(name)
    for stored in reader.messages(session):
        if stored.message == number:
            return stored
    raise ApiError(404, "not-found", f"session {session} has no message {number}")


async def _kept(context: Context, name: str, number: int) -> StoredMessage:
    """That message, if there are octets of it to give out."""

    def look(reader: LogReader) -> StoredMessage:
        stored = _find(reader, name, number)
        if stored.size and next(octets_of(reader, stored), b"") == b"":
            raise ApiError(404, "not-kept", "the message's octets were not recorded (bodies = digest)")
        return stored

    return await context.read(look)


def _octets(stored: StoredMessage) -> Callable[[LogReader], Iterator[bytes]]:
    return lambda reader: octets_of(reader, stored)
