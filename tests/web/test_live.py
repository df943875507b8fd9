"""/live: every event once, in order, for as many as watch; and nobody who watches badly disturbs anybody."""

import base64
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import websockets.sync.client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed

from smtpproxy.store.importing import delete_session
from smtpproxy.web import live as live_module
from smtpproxy.web.hub import FRAME_BYTES
from tests.conversation import Conversation, delivery
from tests.ends import until
from tests.web.stage import PATIENCE_S, Stage, told, told_until, web_port


async def test_hello_comes_first_and_then_what_happens(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        async with stage.live() as websocket:
            (hello,) = await told(websocket)
            assert hello["kind"] == "hello"
            assert (hello["oldest"], hello["newest"], hello["version"]) == (1, 18, "0.1.0")
            assert hello["log"] == (await stage.get("/api/v1/state")).json()["log"]
            await stage.keep(delivery("01B"))
            lines = await told_until(websocket, 36)
    assert [line["seq"] for line in lines] == list(range(19, 37))
    assert {line["session"] for line in lines} == {"01B"}
    assert [line["kind"] for line in lines[:2]] == ["session", "reply"]


async def test_seq_stands_in_front_of_the_recorded_line(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, stage.live("?after=0") as websocket:
        await told(websocket)
        await stage.keep(Conversation("01A"))
        with trio.fail_after(PATIENCE_S):
            frame = await websocket.get_message()
    assert frame.startswith('{"seq":1,"kind":"session","n":0,"session":"01A"')


async def test_a_burst_comes_in_few_frames(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(*[delivery(f"01A{number:03}") for number in range(50)])
        async with stage.live("?after=0") as websocket:
            await told(websocket)
            frames = 0
            seen = 0
            while seen < 900:
                lines = await told(websocket)
                frames += 1
                seen = lines[-1]["seq"]
    assert frames <= 10


async def test_content_is_counted_or_told_as_asked(tmp_path: Path) -> None:
    talk = Conversation("01A").client("DATA").content("Grüße\r\n", b"\xff\xfe\r\n")
    async with web_port(tmp_path) as stage:
        await stage.keep(talk)
        async with stage.live("?after=0") as websocket:
            counted = [line for line in await told_until(websocket, 5) if line["kind"] == "content"]
        async with stage.live("?after=0&content=full") as websocket:
            full = [line for line in await told_until(websocket, 5) if line["kind"] == "content"]
    assert [line["octets"] for line in counted] == [9, 4, 3]
    assert not any("raw" in line or "raw_b64" in line for line in counted)
    assert full[0]["raw"] == "Grüße\r\n"
    assert base64.b64decode(full[1]["raw_b64"]) == b"\xff\xfe\r\n"


async def test_a_large_message_comes_in_frames_of_about_a_line(tmp_path: Path) -> None:
    talk = Conversation("01A").client("DATA").content(*["x" * 65_300 + "\r\n"] * 4)
    async with web_port(tmp_path) as stage:
        await stage.keep(talk)
        async with stage.live("?after=0&content=full") as websocket:
            await told(websocket)
            with trio.fail_after(PATIENCE_S):
                frames = [await websocket.get_message() for _ in range(5)]
    assert [frame.count("\n") for frame in frames] == [1, 0, 0, 0, 0]
    assert all(len(frame) <= FRAME_BYTES for frame in frames)


async def test_a_filter_shows_a_session_from_the_event_that_makes_it_match(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, stage.live("?filter=to:carol@example.com") as websocket:
        await told(websocket)
        await stage.keep(
            Conversation("01A").client("MAIL FROM:<a@example.com>").end("empty"), delivery("01B")
        )
        lines = await told_until(websocket, 21)
    assert {line["session"] for line in lines} == {"01B"}
    assert lines[0]["raw"] == "RCPT TO:<carol@example.com>\r\n"
    assert lines[-1]["kind"] == "end"


async def test_a_filter_knows_what_was_said_before_one_watched(tmp_path: Path) -> None:
    talk = delivery("01A")
    first, rest = Conversation("01A"), Conversation("01A")
    first.events, rest.events = talk.events[:8], talk.events[8:]
    async with web_port(tmp_path) as stage:
        await stage.keep(first)
        async with stage.live("?filter=from:alice@example.com") as websocket:
            await told(websocket)
            await stage.keep(rest)
            lines = await told_until(websocket, 18)
    assert [line["seq"] for line in lines] == list(range(9, 19))


async def test_equal_wishes_share_frames_and_see_the_same(tmp_path: Path) -> None:
    async with (
        web_port(tmp_path) as stage,
        stage.live("?filter=from:@example.com") as one,
        stage.live("?filter=from:@example.com") as two,
    ):
        await told(one), await told(two)
        for number in range(5):
            await stage.keep(delivery(f"01A{number}"))
        assert await told_until(one, 90) == await told_until(two, 90)


async def test_what_was_removed_is_told(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"), delivery("01B"))
        await trio.to_thread.run_sync(delete_session, stage.store, "01A")
        async with stage.live("?after=3") as websocket:
            await told(websocket)
            lines = await told_until(websocket, 36)
    assert lines[0] == {"kind": "removed", "from_seq": 4, "to_seq": 18}
    assert [line["seq"] for line in lines[1:]] == list(range(19, 37))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 90), min_size=1, max_size=4),
    filter_=st.sampled_from(["", "to:bob@example.com", "-from:nobody"]),
)
def test_who_comes_back_with_the_last_position_misses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], filter_: str
) -> None:
    async def watch() -> None:
        async with web_port(tmp_path_factory.mktemp("web")) as stage:
            seen: list[int] = []
            talks = iter([delivery(f"01A{number}") for number in range(5)])
            for cut in [*sorted(cuts), 90]:
                after = seen[-1] if seen else 0
                query = f"?after={after}&filter={filter_}&content=full"
                async with stage.live(query) as websocket:
                    if (talk := next(talks, None)) is not None:
                        await stage.keep(talk)
                    head = stage.log.feed.head
                    while (seen[-1] if seen else 0) < min(cut, head):
                        seen += [line["seq"] for line in await told(websocket) if line["kind"] != "hello"]
            for talk in talks:
                await stage.keep(talk)
            async with stage.live(f"?after={seen[-1] if seen else 0}&filter={filter_}") as websocket:
                while (seen[-1] if seen else 0) < stage.log.feed.head:
                    seen += [line["seq"] for line in await told(websocket) if line["kind"] != "hello"]
            # A filter that begins to match in the middle of a session shows that session from there on.
            begun = {"": 1, "to:bob@example.com": 7, "-from:nobody": 1}[filter_]
            expected = [seq for seq in range(1, 91) if (seq - 1) % 18 + 1 >= begun]
            assert seen == expected

    trio.run(watch)


async def test_the_last_words_come_before_the_goodbye(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, stage.live() as websocket:
        await told(websocket)
        talk = delivery("01A")
        await stage.keep(talk)
        await stage.log.aclose()
        stage.is_over.set()
        assert (await told_until(websocket, 18))[-1]["kind"] == "end"
        with pytest.raises(ConnectionClosed) as closed:
            await told(websocket)
    assert closed.value.reason is not None
    assert (closed.value.reason.code, closed.value.reason.reason) == (1001, "smtpproxy is stopping")


# those who watch badly


async def subscribe_and_never_read(stage: Stage, query: str = "") -> trio.SocketStream:
    stream = await stage.connect()
    await stream.send_all(stage.upgrade(query))
    assert (await stream.receive_some(12)) == b"HTTP/1.1 101"
    return stream


async def test_a_hundred_of_whom_some_never_read(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, trio.open_nursery() as nursery:
        streams = [await subscribe_and_never_read(stage, "?content=full") for _ in range(50)]
        counts: list[int] = []

        async def watch(*, task_status: Any) -> None:
            async with stage.live("?content=full") as websocket:
                await told(websocket)
                task_status.started()
                counts.append(len(await told_until(websocket, 40 * 21)))

        for _ in range(50):
            await nursery.start(watch)
        state = (await stage.get("/api/v1/state")).json()
        assert state["subscribers"] == 100
        body = "0123456789" * 6000 + "\r\n"
        for number in range(40):
            talk = delivery(f"01A{number:03}", is_open=True)
            talk.client("DATA").content(body[:60000]).end()
            talk.events = talk.events[:20] + talk.events[-1:]
            await stage.keep(talk)
        await until(lambda: len(counts) == 50)
        assert counts == [40 * 21] * 50
        assert stage.log.status().state == "ok"
        for stream in streams:
            await trio.aclose_forcefully(stream)
        assert await stage.is_well()


async def has_subscribers(stage: Stage, number: int) -> bool:
    return bool((await stage.get("/api/v1/state")).json()["subscribers"] == number)


async def test_one_that_takes_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "SEND_TIMEOUT_S", 0.2)
    async with web_port(tmp_path) as stage:
        stream = await subscribe_and_never_read(stage, "?content=full")
        talk = Conversation("01A").client("DATA").content(*["x" * 60_000] * 200)
        await stage.keep(talk)
        await until(lambda: has_subscribers(stage, 0))
        await trio.aclose_forcefully(stream)
        assert await stage.is_well()


async def test_one_that_answers_no_ping_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(live_module, "PONG_TIMEOUT_S", 0.1)
    async with web_port(tmp_path) as stage:
        async with stage.live() as well:
            await told(well)
            stream = await subscribe_and_never_read(stage)
            await until(lambda: has_subscribers(stage, 1))
            await stage.keep(delivery("01A"))
            assert len(await told_until(well, 18)) == 18
        await trio.aclose_forcefully(stream)


async def test_there_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_SUBSCRIBERS", 2)
    async with web_port(tmp_path) as stage, stage.live() as one, stage.live() as two:
        await told(one), await told(two)
        assert await stage.answer(stage.upgrade()) == (
            503,
            "there are 2 subscribers already; try again later",
        )


async def test_what_they_say_is_drained(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, stage.live() as websocket:
        await told(websocket)
        for _ in range(100):
            await websocket.send_message("are you there?")
        with trio.fail_after(PATIENCE_S):
            await websocket.ping()  # answered only if what came before was read
        await stage.keep(delivery("01A"))
        assert len(await told_until(websocket, 18)) == 18


async def test_a_message_that_is_too_large_ends_one_subscriber(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        async with stage.live() as websocket:
            await told(websocket)
            await websocket.send_message("x" * 100_000)
            with pytest.raises(ConnectionClosed):
                await told(websocket)
        assert await stage.is_well()


# what has crashed websocket servers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": b"\xff"},
        {"Connection": b"Upgrade, \xff"},
        {"Sec_WebSocket_Protocol": b"\xff"},
        {"Sec_WebSocket_Extensions": b"permessage-deflate; \xff"},
        {"Sec_WebSocket_Key": b"\xff"},
        {"Sec_WebSocket_Version": b"\xff"},
        {"Origin": b"\xff"},
        {"Cookie": b"\xff\xfe=\x80"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_octets_beyond_ascii_in_a_header_harm_nobody(tmp_path: Path, headers: dict[str, bytes]) -> None:
    async with web_port(tmp_path) as stage, stage.live() as other:
        await told(other)
        async with await stage.connect() as stream:
            await stream.send_all(stage.upgrade(**headers))
            with trio.fail_after(PATIENCE_S):
                answer = await stream.receive_some()
        # Where the field does not matter here, the websocket opens without it.
        expected = (
            b"101"
            if set(headers) & {"Connection", "Sec_WebSocket_Protocol", "Sec_WebSocket_Extensions", "Cookie"}
            else b"4"
        )
        assert answer.split()[1].startswith(expected)
        await stage.keep(delivery("01A"))
        assert len(await told_until(other, 18)) == 18
        assert await stage.is_well()


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """A client's frame, masked with zeros (RFC 6455 5.2)."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


@pytest.mark.parametrize(
    "octets",
    [
        frame(0x8, b"\x03\xe8") + frame(0x9, b"late"),
        frame(0x9, b"early") + frame(0x8),
        frame(0x8, b"\x03"),
        frame(0x8, b"\x03\xe8\xff"),
        frame(0x1, b"\xff\xfe"),
        frame(0x3),
        b"\x81\x05hello",
        b"\xff" * 64,
        b"QUIT\r\n" * 10,
    ],
    ids=[
        "ping-while-closing",
        "ping-then-close",
        "short-close",
        "close-not-utf8",
        "text-not-utf8",
        "unknown-opcode",
        "unmasked",
        "noise",
        "smtp",
    ],
)
async def test_odd_frames_end_one_subscriber(tmp_path: Path, octets: bytes) -> None:
    async with web_port(tmp_path) as stage, stage.live() as other:
        await told(other)
        stream = await subscribe_and_never_read(stage)
        await stream.send_all(octets)
        with trio.fail_after(PATIENCE_S):
            while await stream.receive_some():
                pass
        await trio.aclose_forcefully(stream)
        await stage.keep(delivery("01A"))
        assert len(await told_until(other, 18)) == 18
        assert await stage.is_well()


async def test_a_ping_while_we_are_closing_harms_nobody(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        stream = await subscribe_and_never_read(stage)
        await stage.keep(delivery("01A"))
        await stage.log.aclose()
        stage.is_over.set()
        with trio.fail_after(PATIENCE_S):
            answer = b""
            while b"smtpproxy is stopping" not in answer:
                answer += bytes(await stream.receive_some())
            await stream.send_all(frame(0x9, b"still there?"))
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        await trio.aclose_forcefully(stream)
        assert stage.reported == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?after=-1", "after must be"),
        ("?after=ten", "after must be"),
        ("?after=99999999999999999999", "after must be"),
        ("?content=some", "content must be"),
        ("?filter=fro:x", "did you mean"),
        ("?filter=%22open", "not closed"),
        ("?" + "&".join(["a=1"] * 20), "too many fields"),
    ],
)
async def test_a_wish_that_cannot_be_read_is_refused_in_words(tmp_path: Path, query: str, said: str) -> None:
    async with web_port(tmp_path) as stage:
        status, text = await stage.answer(stage.upgrade(query))
    assert status == 400
    assert said in text


async def test_a_position_of_the_future_waits_for_what_comes(tmp_path: Path) -> None:
    # A client that comes back to another log: its hello tells, and the page begins anew.
    async with web_port(tmp_path) as stage, stage.live("?after=5000") as websocket:
        await told(websocket)
        with trio.move_on_after(0.1):
            await told(websocket)
        await stage.keep(delivery("01A"))
        assert len(await told_until(websocket, 18)) == 18


async def test_with_a_client_that_is_not_ours(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        frames: list[str | bytes] = []

        def watch() -> None:
            url = f"ws://{stage.host}/live?after=0"
            with websockets.sync.client.connect(url, origin=stage.url) as websocket:  # type: ignore[arg-type]
                websocket.ping().wait(PATIENCE_S)
                while '"kind":"end"' not in str(frames[-1:]):
                    frames.append(websocket.recv(PATIENCE_S))

        thread = threading.Thread(target=watch)
        thread.start()
        await trio.to_thread.run_sync(thread.join, PATIENCE_S)
    assert '"kind":"hello"' in str(frames[0])
    assert str(frames[1]).count("\n") == 17
