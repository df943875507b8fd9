"""The login page, where a token is asked for: a form, and the cookie that a right answer gets."""

from typing import Final
from urllib.parse import parse_qs

import trio
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from smtpproxy.web.security import Access

WRONG_PAUSE_S: Final = 1.0
"""Nobody types faster than this, and who guesses has to wait."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smtpproxy: log in</title>
<h1>smtpproxy</h1>
<form method="post" action="/login">
<p>{said}</p>
<p><label>Token <input type="password" name="token" autocomplete="current-password" required></label>
<button>Log in</button></p>
</form>
</html>
"""


def _page(said: str, status: int = 200) -> HTMLResponse:
    # A form on a page with no-referrer is sent with `Origin: null`, which is nobody's.
    return HTMLResponse(_PAGE.format(said=said), status, {"referrer-policy": "same-origin"})


def login_router(access: Access) -> APIRouter:
    """GET and POST /login."""
    router = APIRouter(include_in_schema=False)
    # Whoever tries many at once is served one by one.
    one_by_one = trio.Lock()

    @router.get("/login")
    async def ask() -> HTMLResponse:
        return _page("The token is what --web-token says.")

    @router.post("/login")
    async def take(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        try:
            given = parse_qs(body, max_num_fields=5).get("token", [""])[0]
        except ValueError:
            given = ""  # not what our form sends
        async with one_by_one:
            if not access.is_token(given):
                await trio.sleep(WRONG_PAUSE_S)
                return _page("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(access.cookie_name, access.cookie_value, httponly=True, samesite="strict", path="/")
        return answer

    return router
