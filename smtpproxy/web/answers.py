"""How the API answers: JSON made in a thread, files in pieces, errors in one shape; it knows no resource."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import trio
from fastapi import Response
from pydantic import BaseModel

from smtpproxy.web.models import ErrorBody, Problem

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._ @()+=-]")
MAX_NAME_CHARACTERS: Final = 100


class ApiError(Exception):
    """Ends a request with an error that its sender can act on."""

    def __init__(self, status: int, code: str, text: str, *, column: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.error = ErrorBody(code=code, text=text, column=column)


def problem(error: ApiError) -> Response:
    """The answer for an error."""
    return json_answer(Problem(error=error.error), status=error.status)


def json_answer(value: BaseModel, *, status: int = 200) -> Response:
    """A model as JSON; members that are not known are null, but for `column`, which most errors lack."""
    body = value.model_dump_json(by_alias=True, exclude_none=isinstance(value, Problem))
    return Response(body, status, media_type="application/json")


class Streamed(Response):
    """An answer that comes in pieces; nobody who has left is waited for.

    Starlette's own leaves its generator to the garbage collector when a client goes, which trio warns of.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`pieces` is closed in the end."""
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send them (ASGI)."""
        async with trio.open_nursery() as nursery:

            async def notice_leaving() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(notice_leaving)
            async with aclosing(self._pieces) as pieces:
                # The first piece before the head: what cannot be read at all is an error still.
                first = await anext(pieces, b"")
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": first, "more_body": True})
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()


def as_download(name: str) -> dict[str, str]:
    """Headers that make a browser save the answer under a harmless name (RFC 6266)."""
    safe = safe_name(name)
    plain = _UNSAFE.sub("_", safe)
    disposition = f'attachment; filename="{plain}"'
    if plain != safe:
        disposition += f"; filename*=UTF-8''{quote(safe, safe='')}"
    return {"content-disposition": disposition}


def safe_name(name: str) -> str:
    """A file name out of what somebody called it: no folders, nothing invisible, nothing hidden."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(" .")
    if len(kept) > MAX_NAME_CHARACTERS:
        stem, dot, extension = kept.rpartition(".")
        is_long = not dot or len(extension) > 10
        kept = kept[:MAX_NAME_CHARACTERS] if is_long else f"{stem[: MAX_NAME_CHARACTERS - 11]}.{extension}"
    return kept or "unnamed"
