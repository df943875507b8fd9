"""REST: what was recorded can be listed, filtered, read, downloaded and deleted; hostile mail stays mail."""

import base64
import email
import email.policy
import json
import sqlite3
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.recording.codec import encode
from smtpproxy.recording.files import load_recording
from smtpproxy.store import schema as schema_module
from smtpproxy.web import lists as lists_module
from tests.conversation import Conversation, delivery
from tests.ends import until
from tests.web.stage import Stage, web_port

API = "/api/v1"


def day(number: int) -> str:
    return f"2026-11-{number:02}T10:00:00.000000Z"


def carrying(message: bytes, session: str = "01A") -> Conversation:
    """A delivery of these octets."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return (
        Conversation(session)
        .client("MAIL FROM:<alice@example.com>")
        .server("250 ok")
        .client("RCPT TO:<bob@example.com>")
        .server("250 ok")
        .client("DATA")
        .server("354 go")
        .content(stuffed)
        .server("250 2.0.0 queued")
        .client("QUIT")
        .server("221 bye")
        .end()
    )


async def get(stage: Stage, path: str) -> object:
    answer = await stage.get(API + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


# sessions


async def test_a_session_in_the_list_is_its_summary(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        found = (await stage.get(f"{API}/sessions")).json()
        one = (await stage.get(f"{API}/sessions/latest")).json()
    (listed,) = found["sessions"]
    assert found["cursor"] is None
    assert set(listed) == set(SessionSummary.__struct_fields__) - {"is_probe"}
    assert listed["outcome"] == "delivered"
    assert listed["rcpt_to"] == ["bob@example.com", "carol@example.com"]
    assert one == {**listed, "first_seq": 1, "last_seq": 18}


async def test_pages_of_sessions_hold_each_once_newest_first(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(*[delivery(f"01A{number:02}", started=day(number // 2 + 1)) for number in range(23)])
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = f"?limit=5&cursor={cursor}" if cursor else "?limit=5"
            page = (await stage.get(f"{API}/sessions{query}")).json()
            seen += [session["session"] for session in page["sessions"]]
            cursor = page["cursor"]
    assert seen == [f"01A{number:02}" for number in reversed(range(23))]


async def test_a_filter_that_takes_too_long_comes_in_short_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "PAGE_TIME_S", 0.0)
    async with web_port(tmp_path) as stage:
        await stage.keep(*[delivery(f"01A{number:02}", started=day(number + 1)) for number in range(4)])
        seen: list[str] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            query = f"&cursor={cursor}" if cursor else ""
            page = (await stage.get(f"{API}/sessions?filter=session:01A02{query}")).json()
            seen += [session["session"] for session in page["sessions"]]
            cursor = page["cursor"]
            pages += 1
    assert seen == ["01A02"]
    assert pages >= 4


async def test_messages_that_take_too_long_to_find_come_in_short_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "PAGE_TIME_S", 0.0)
    async with web_port(tmp_path) as stage:
        await stage.keep(*[delivery(f"01A{number:02}", started=day(number + 1)) for number in range(4)])
        seen: list[str] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            query = f"?cursor={cursor}" if cursor else ""
            page = (await stage.get(f"{API}/messages{query}")).json()
            seen += [message["session"] for message in page["messages"]]
            cursor = page["cursor"]
            pages += 1
            assert pages < 20
    assert seen == ["01A03", "01A02", "01A01", "01A00"]
    assert pages >= 4


async def test_filters_of_every_depth(tmp_path: Path) -> None:
    rejected = (
        Conversation("01B").client("MAIL FROM:<eve@example.com>").server("550 5.7.1 no").end("rejected")
    )
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A", subject="Password reset"), rejected)

        async def ids(filter_: str) -> list[str]:
            answer = await stage.get(f"{API}/sessions", params={"filter": filter_})
            return [session["session"] for session in answer.json()["sessions"]]

        assert await ids("is:rejected") == ["01B"]  # the summary tells
        assert await ids("code:550") == ["01B"]  # the events tell
        assert await ids("subject:reset") == ["01A"]  # the messages tell
        assert await ids("dotted") == ["01A"]
        assert await ids("from:nobody@example.com") == []
        bad = await stage.get(f"{API}/sessions", params={"filter": "is:rejected fro:x"})
    assert bad.status_code == 400
    assert bad.json()["error"] == {
        "code": "bad-filter",
        "text": "there is no key fro: (did you mean from:?); quote it to search for it as text",
        "column": 13,
    }


async def test_probes_are_listed_when_asked_for(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(Conversation("01A").server("220 mx").end("empty", reason="client-eof"))
        assert (await get(stage, "/sessions")) == {"sessions": [], "cursor": None}
        shown = await get(stage, "/sessions?probes=true")
    assert "01A" in str(shown)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("01AB", 200, ""),
        ("01A", 404, "2 sessions begin with 01A"),
        ("01Z", 404, "no session 01Z"),
        ("latest", 200, ""),
        ("a_b", 400, "id"),
        ("%2e%2e%2fetc", 404, ""),
    ],
)
async def test_names_of_sessions(tmp_path: Path, name: str, status: int, said: str) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01AB"), delivery("01AC"))
        answer = await stage.get(f"{API}/sessions/{name}")
    assert answer.status_code == status
    assert said in answer.text


async def test_events_come_as_recorded_in_pages(tmp_path: Path) -> None:
    talk = delivery("01A")
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01B"), talk)
        lines: list[dict[str, object]] = []
        after: int | None = -1
        while after is not None:
            page = (await stage.get(f"{API}/sessions/01A/events?after_n={after}&limit=4")).json()
            lines += page["events"]
            after = page["next"]
        counted = (await stage.get(f"{API}/sessions/01A/events?content=none&after_n=12")).json()["events"]
    assert [line["seq"] for line in lines] == list(range(19, 37))
    assert [line["n"] for line in lines] == list(range(18))
    for line, event in zip(lines, talk.events, strict=True):
        del line["seq"]
        assert line == json.loads(encode(event))
    content = [line for line in counted if line["kind"] == "content"]
    assert content
    assert all("raw" not in line and line["octets"] > 0 for line in content)


async def test_a_transcript_for_people(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(Conversation("01A").client("EHLO \x1b]52;c;evil\x07").end())
        answer = await stage.get(f"{API}/sessions/01A/transcript")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert " -> EHLO \\x1b]52;c;evil\\x07" in answer.text


async def test_a_recording_can_be_downloaded_and_read_again(tmp_path: Path) -> None:
    talk = delivery("01A")
    async with web_port(tmp_path) as stage:
        await stage.keep(talk)
        answer = await stage.get(f"{API}/sessions/latest/recording")
    assert answer.headers["content-disposition"] == 'attachment; filename="01A.smtp.jsonl"'
    file = tmp_path / "01A.smtp.jsonl"
    file.write_bytes(answer.content)
    assert [line.event for line in load_recording(file)] == talk.events


async def test_deleting(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"), delivery("01B"), delivery("01C"), delivery("01D", is_open=True))
        async with stage.client() as client:
            assert (await client.delete(f"{API}/sessions/01A")).status_code == 204
            assert (await client.get(f"{API}/sessions/01A")).status_code == 404
            still = await client.delete(f"{API}/sessions/01D")
            assert (still.status_code, still.json()["error"]["code"]) == (409, "still-open")
            assert (await client.delete(f"{API}/sessions")).status_code == 400
            assert (await client.delete(f"{API}/sessions?filter=%20")).status_code == 400
            assert (await client.delete(f"{API}/sessions?filter=session:01B")).json() == {"deleted": 1}
            assert (await client.delete(f"{API}/sessions?filter=*")).json() == {"deleted": 1}
            left = (await client.get(f"{API}/sessions")).json()["sessions"]
    assert [session["session"] for session in left] == ["01D"]


# messages


def with_everything() -> bytes:
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Alice <alice@example.com>"
    message["To"] = "bob@example.com, dave@example.com"
    message["Subject"] = "Grüße <script>alert(1)</script>"
    message["Date"] = "Mon, 23 Nov 2026 17:00:00 +0000"
    message.set_content("Hällo\n.dot\n")
    message.add_alternative(
        '<p>Hi</p><img src="cid:logo@x"><img src="https://evil.example/pixel"><script>alert(1)</script>',
        subtype="html",
    )
    html = message.get_payload(1)
    assert isinstance(html, EmailMessage)
    html.add_related(b"\x89PNG", "image", "png", cid="<logo@x>")
    message.add_attachment(
        b"%PDF", maintype="application", subtype="pdf", filename="../../etc/päss\\wd\r\n.pdf"
    )
    return message.as_bytes()


async def test_a_message_taken_apart(tmp_path: Path) -> None:
    message = with_everything()
    async with web_port(tmp_path) as stage:
        await stage.keep(carrying(message))
        one = (await stage.get(f"{API}/sessions/latest/messages/1")).json()
        listed = (await stage.get(f"{API}/sessions/latest/messages")).json()["messages"]
        across = (await stage.get(f"{API}/messages")).json()
    assert listed == across["messages"] == [{key: one[key] for key in listed[0]}]
    assert one["subject"] == "Grüße <script>alert(1)</script>"
    assert (one["from"], one["outcome"], one["is_kept"]) == ("Alice <alice@example.com>", "delivered", True)
    assert (one["has_html"], one["attachments"], one["html"]) == (True, 1, True)
    assert one["text"] == "Hällo\r\n.dot\r\n"
    assert ["To", "bob@example.com, dave@example.com"] in one["headers"]
    assert one["envelope"]["mismatches"] == ["dave@example.com stands in To or Cc, and is no recipient."]
    (root,) = one["parts"]
    assert (root["path"], root["content_type"]) == ("", "multipart/mixed")
    alternative, attachment = root["parts"]
    assert [part["path"] for part in alternative["parts"]] == ["1.1", "1.2"]
    assert (attachment["path"], attachment["size"], attachment["content_type"]) == ("2", 4, "application/pdf")


async def test_a_messages_octets_are_what_was_meant(tmp_path: Path) -> None:
    message = with_everything()
    async with web_port(tmp_path) as stage:
        await stage.keep(carrying(message))
        raw = await stage.get(f"{API}/sessions/latest/messages/1/raw")
        source = await stage.get(f"{API}/sessions/latest/messages/1/source")
    assert raw.content == source.content == message
    assert raw.headers["content-type"] == "message/rfc822"
    assert raw.headers["content-disposition"] == 'attachment; filename="01A-1.eml"'
    assert source.headers["content-type"] == "text/plain; charset=utf-8"


async def test_html_can_neither_run_nor_load(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(carrying(with_everything()))
        answer = await stage.get(f"{API}/sessions/latest/messages/1/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "; sandbox;" in policy
    assert "script-src" not in policy
    assert "img-src data:;" in policy
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    image = base64.b64encode(b"\x89PNG").decode()
    assert f'src="data:image/png;base64,{image}"' in answer.text


async def test_a_part_is_a_download_with_a_harmless_name(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(carrying(with_everything()))
        answer = await stage.get(f"{API}/sessions/latest/messages/1/parts/2")
        image = await stage.get(f"{API}/sessions/latest/messages/1/parts/1.2.2")
        missing = await stage.get(f"{API}/sessions/latest/messages/1/parts/7")
    assert answer.content == b"%PDF"
    assert answer.headers["content-type"] == "application/octet-stream"
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert "/" not in disposition
    assert ".." not in disposition
    assert image.headers["content-type"] == "image/png"
    assert image.headers["content-disposition"].startswith("attachment")
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        ("image/svg+xml", "application/octet-stream"),
        ("text/html", "application/octet-stream"),
        ("image/png\r\nX-Injected: yes", "application/octet-stream"),
        ("image/gif", "image/gif"),
    ],
)
async def test_only_harmless_images_keep_their_type(tmp_path: Path, kind: str, served: str) -> None:
    message = f"Content-Type: {kind}; name=x\r\nContent-Disposition: attachment\r\n\r\n<svg/>\r\n".encode()
    async with web_port(tmp_path) as stage:
        await stage.keep(carrying(message))
        answer = await stage.get(f"{API}/sessions/latest/messages/1/parts/1")
    assert answer.headers["content-type"] in (served, "image/png" if "png" in kind else served)
    assert "x-injected" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_became_of_messages(tmp_path: Path) -> None:
    refused = Conversation("01B").client("MAIL FROM:<a@x>").client("DATA").server("354 go").content("x\r\n")
    refused.server("550 spam").end("rejected")
    lost = (
        Conversation("01C").client("MAIL FROM:<a@x>").client("DATA").server("354 go").content("x\r\n", end="")
    )
    lost.end("aborted")
    waiting = (
        Conversation("01D").client("DATA").server("354 go").content("x\r\n").client("DATA").content("y\r\n")
    )
    bdat = Conversation("01E").client("MAIL FROM:<a@x>").server("250 ok").chunk(b"Subject: ").server("250 ok")
    bdat.chunk(b"chunks\r\n\r\n..two\r\n", last=True).server("250 ok").end()
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"), refused, lost, waiting, bdat)

        async def outcomes(session: str) -> list[tuple[str, bool]]:
            found = (await stage.get(f"{API}/sessions/{session}/messages")).json()["messages"]
            return [(message["outcome"], message["is_complete"]) for message in found]

        assert await outcomes("01A") == [("delivered", True)]
        assert await outcomes("01B") == [("rejected", True)]
        assert await outcomes("01C") == [("aborted", False)]
        assert await outcomes("01D") == [("pending", True)]
        assert await outcomes("01E") == [("delivered", True)]
        raw = await stage.get(f"{API}/sessions/01E/messages/1/raw")
    assert raw.content == b"Subject: chunks\r\n\r\n..two\r\n"


async def test_bodies_that_were_not_kept(tmp_path: Path) -> None:
    talk = Conversation("01A").client("DATA").server("354 go").digested(5000).server("250 ok").end()
    async with web_port(tmp_path) as stage:
        await stage.keep(talk)
        (message,) = (await stage.get(f"{API}/sessions/01A/messages")).json()["messages"]
        raw = await stage.get(f"{API}/sessions/01A/messages/1/raw")
    assert (message["size"], message["is_kept"]) == (5000, False)
    assert (raw.status_code, raw.json()["error"]["code"]) == (404, "not-kept")


async def test_pages_of_messages_hold_each_once(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        for number in range(4):
            talk = (
                Conversation(f"01A{number}", started=day(number + 1))
                .client("MAIL FROM:<a@x>")
                .server("250 ok")
            )
            for count in range(3):
                talk.client("DATA").server("354 go").content(f"Subject: {number}.{count}\r\n\r\n").server(
                    "250 ok"
                )
            await stage.keep(talk.end())
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = f"?limit=5&cursor={cursor}" if cursor else "?limit=5"
            page = (await stage.get(f"{API}/messages{query}")).json()
            seen += [message["subject"] for message in page["messages"]]
            cursor = page["cursor"]
    assert seen == [f"{number}.{count}" for number in (3, 2, 1, 0) for count in (2, 1, 0)]


async def test_a_large_message_passes_in_pieces(tmp_path: Path) -> None:
    body = [f"{number:08} {'x' * 60_000}\r\n" for number in range(250)]  # 15 MB
    talk = Conversation("01A").client("DATA").server("354 go").content("Subject: big\r\n\r\n", *body)
    async with web_port(tmp_path) as stage:
        await stage.keep(talk.server("250 ok").end())
        size = 0
        async with (
            stage.client() as client,
            client.stream("GET", f"{API}/sessions/01A/messages/1/raw") as raw,
        ):
            async for piece in raw.aiter_raw():
                size += len(piece)
                assert len(piece) <= 2 * 1024 * 1024
        (listed,) = (await stage.get(f"{API}/sessions/01A/messages")).json()["messages"]
    assert size == 16 + sum(map(len, body))
    assert listed["subject"] == "big"


# the proxy


async def test_state_and_certificate(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"), delivery("01B", is_open=True))
        state = (await stage.get(f"{API}/state")).json()
        certificate = await stage.get(state["ca"])
    assert (state["oldest"], state["newest"], state["sessions_open"]) == (1, 35, 1)
    assert state["routes"] == [{"name": "default", "listen": "smtp://127.0.0.1:1025", "upstream": "sandbox:"}]
    assert state["recording"]["state"] == "ok"
    assert state["store"] == str(tmp_path / "mail.db")
    assert certificate.content.startswith(b"-----BEGIN CERTIFICATE-----")


async def test_metrics_count_what_is_logged_once(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        await stage.get("/livez")  # counting begins with the port
        await stage.keep(delivery("01A"), delivery("01B"))
        first = (await stage.get("/metrics")).text
        second = (await stage.get("/metrics")).text
        await stage.keep(Conversation("01C").tls("client").finding("bare-lf").end("failed"))
        async with stage.live():
            third = (await stage.get("/metrics")).text
    assert 'smtpproxy_sessions_ended_total{outcome="delivered"} 2.0' in first
    assert "smtpproxy_messages_total 2.0" in first
    assert 'smtpproxy_replies_total{code="354",from="server"} 2.0' in first
    assert first == second
    assert 'smtpproxy_tls_handshakes_total{leg="client",result="ok",version="TLSv1.3"} 1.0' in third
    assert 'smtpproxy_findings_total{code="bare-lf"} 1.0' in third
    assert "smtpproxy_live_subscribers 1.0" in third
    assert "smtpproxy_recorder_lag_seconds 0.0" in third


async def test_ready_means_that_mail_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_module, "BUSY_TIMEOUT_S", 0.02)
    async with web_port(tmp_path) as stage:
        assert (await stage.get("/readyz")).json() == {"status": "ok", "reason": ""}
        another = sqlite3.connect(stage.store, isolation_level=None)
        another.execute("BEGIN EXCLUSIVE")
        event = delivery("01A").events[0]
        stage.log.append(encode(event), event)

        async def unready() -> httpx.Response | None:
            answer = await stage.get("/readyz")
            return answer if answer.status_code == 503 else None

        assert "recording has failed: " in (await until(unready)).json()["reason"]
        assert (await stage.get("/livez")).status_code == 200
        another.execute("ROLLBACK")
        another.close()

        async def ready() -> bool:
            return (await stage.get("/readyz")).status_code == 200

        await until(ready)


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v1/nothing", "/../../etc/passwd", "/%2e%2e/security.py", "//x"]
)
async def test_what_there_is_not(tmp_path: Path, path: str) -> None:
    async with web_port(tmp_path) as stage:
        answer = await stage.answer(
            f"GET {path} HTTP/1.1\r\nHost: {stage.host}\r\nConnection: close\r\n\r\n".encode()
        )
    assert answer == (404, "Not Found")
