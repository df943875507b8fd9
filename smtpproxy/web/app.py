"""The ASGI application: REST, health, login and the page, in one; errors of every kind in one shape.

Who may ask was decided at the door. Importing this is slow: it is done in a thread, after mail flows.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from smtpproxy.errors import FilterError, NotFoundError, StoreError
from smtpproxy.web import models
from smtpproxy.web.answers import ApiError, problem
from smtpproxy.web.api_messages import messages_router
from smtpproxy.web.api_sessions import sessions_router
from smtpproxy.web.api_state import health_router, state_router
from smtpproxy.web.context import Context
from smtpproxy.web.login import login_router
from smtpproxy.web.security import Access

STATIC: Final = Path(__file__).parent / "static"
_Handlers: TypeAlias = dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]
_CODES: Final = {404: "not-found", 405: "bad-method"}


def make_app(context: Context, access: Access) -> FastAPI:
    """The application, with its OpenAPI document made; blocks for a while."""
    app = FastAPI(
        title="smtpproxy",
        version=context.around.version,
        description="What a running smtpproxy has recorded, and how it is doing.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": models.Problem}, "5XX": {"model": models.Problem}},
        exception_handlers=_handlers(context.around.report),
    )
    for router in (state_router(context), sessions_router(context), messages_router(context)):
        app.include_router(router, prefix="/api/v1")
    app.include_router(health_router(context))
    app.include_router(login_router(access))
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    app.openapi()  # kept by FastAPI; made now, since it takes long
    return app


def _allowed(request: Request) -> list[str]:
    """The methods of a resource; those that the router tells are of its first route alone."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    methods = [
        method.upper()
        for template, operations in paths.items()
        if compile_path(template)[0].match(request.url.path)
        for method in operations
    ]
    return [*methods, "HEAD"] if "GET" in methods else methods


def _handlers(report: Callable[[str], None]) -> _Handlers:
    async def on_api_error(_: Request, error: ApiError) -> Response:
        return problem(error)

    async def on_not_found(_: Request, error: NotFoundError) -> Response:
        return problem(ApiError(404, "not-found", str(error)))

    async def on_filter(_: Request, error: FilterError) -> Response:
        return problem(ApiError(400, "bad-filter", error.problem, column=error.column))

    async def on_store(_: Request, error: StoreError) -> Response:
        return problem(ApiError(503, "store", str(error)))

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = first["loc"][-1] if first["loc"] else "the request"
        return problem(ApiError(400, "bad-request", f"{where}: {first['msg']}"))

    async def on_http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "bad-request")
        answer = problem(ApiError(error.status_code, code, str(error.detail)))
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(_allowed(request)) or "GET, HEAD"
        return answer

    async def on_bug(_: Request, error: Exception) -> Response:
        # Its name alone: its text may hold what somebody sent.
        report(f"the page: internal error, please report it ({type(error).__name__})")
        return problem(ApiError(500, "internal", "internal error, please report it"))

    return {
        ApiError: on_api_error,
        NotFoundError: on_not_found,
        FilterError: on_filter,
        StoreError: on_store,
        RequestValidationError: on_invalid,
        HTTPException: on_http,
        Exception: on_bug,
    }
