"""The API about the proxy itself: its state, its certificate, its health, its metrics."""

import contextlib
from pathlib import Path

import trio
from fastapi import APIRouter, Response

from smtpproxy.errors import StoreError
from smtpproxy.store.reader import LogReader
from smtpproxy.web import models
from smtpproxy.web.answers import as_download, json_answer
from smtpproxy.web.context import Context
from smtpproxy.web.metrics import CONTENT_TYPE, Metrics


def state_router(context: Context) -> APIRouter:
    """`/api/v1/state` and `/api/v1/ca.pem`."""
    router = APIRouter(tags=["proxy"])
    around = context.around

    @router.get("/state", response_model=models.State)
    async def state() -> Response:
        """The running proxy: its routes, its log, and how recording is doing."""
        status = around.status()
        place = await context.place()
        return json_answer(
            models.State(
                version=around.version,
                log=place.log,
                oldest=place.oldest,
                newest=place.newest,
                routes=[
                    models.RouteState(name=route.name, listen=route.listen, upstream=route.upstream)
                    for route in around.routes
                ],
                store=None if around.store is None else str(around.store).encode(errors="replace").decode(),
                recording=models.RecordingState(
                    state=status.state,
                    error=status.error,
                    pending_events=status.pending_events,
                    lag_s=status.lag_s,
                    lost_events=status.lost_events,
                    gaps=status.gaps,
                ),
                sessions_open=place.sessions_open,
                subscribers=context.subscribers(),
                ca="/api/v1/ca.pem",
            )
        )

    @router.get(
        "/ca.pem",
        response_class=Response,
        responses={200: {"content": {"application/x-pem-file": {"schema": {"type": "string"}}}}},
    )
    async def ca() -> Response:
        """The authority's certificate, for the app to trust."""
        octets = await trio.to_thread.run_sync(Path(around.ca).read_bytes)
        return Response(octets, media_type="application/x-pem-file", headers=as_download("smtpproxy-ca.pem"))

    return router


def health_router(context: Context) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["health"])
    around = context.around
    metrics = Metrics(version=around.version, after_seq=around.feed.head)
    counting = trio.Lock()

    @router.get("/livez", response_model=models.Health)
    async def livez() -> Response:
        """Whether the process runs."""
        return json_answer(models.Health(status="ok", reason=""))

    @router.get(
        "/readyz",
        response_model=models.Health,
        responses={503: {"model": models.Health, "description": "Recording has failed."}},
    )
    async def readyz() -> Response:
        """Whether mail is taken and recorded."""
        status = around.status()
        if status.state == "failed":
            health = models.Health(status="unavailable", reason=f"recording has failed: {status.error}")
            return json_answer(health, status=503)
        return json_answer(models.Health(status="ok", reason=""))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics_() -> Response:
        """Counters and gauges for Prometheus."""
        async with counting:
            if context.readers is not None:

                def count(reader: LogReader) -> None:
                    metrics.catch_up(reader)

                # Where the store does not work, the gauges tell.
                with contextlib.suppress(StoreError):
                    await context.readers.run(count)
            body = metrics.render(around.status(), subscribers=context.subscribers())
        return Response(body, media_type=CONTENT_TYPE)

    return router
