"""Events, and the lines that people see of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.transcript import MAX_LINE_CHARACTERS, MAX_OPAQUE_LINES, Transcript
from tests.conversation import CLIENT, PROXY, SERVER, Conversation, delivery


def lines(*talks: Conversation, transcript: Transcript | None = None) -> list[str]:
    transcript = transcript or Transcript()
    return [line.text for talk in talks for event in talk.events for line in transcript.render(event)]


def said(talk: Conversation, transcript: Transcript | None = None) -> list[str]:
    return lines(talk, transcript=transcript)[1:]


def test_a_delivery_reads_like_swaks() -> None:
    assert lines(delivery()) == [
        "=== session 01KAAAAAAAAAAAAAAAAAAAAAAA: 127.0.0.1:50312 to smtp://mx.example.com:25,"
        " 2026-11-23T17:00:00.123456Z",
        "<-  220 mx ESMTP",
        " -> EHLO app",
        "<-  250-mx",
        "<-  250 PIPELINING",
        " -> MAIL FROM:<alice@example.com> SIZE=42",
        "<-  250 2.1.0 ok",
        " -> RCPT TO:<bob@example.com>",
        "<-  250 2.1.5 ok",
        " -> RCPT TO:<carol@example.com>",
        "<-  250 2.1.5 ok",
        " -> DATA",
        "<-  354 go",
        "=== message 1: 70 octets",
        " -> .",
        "<-  250 2.0.0 queued as 4F1",
        " -> QUIT",
        "<-  221 2.0.0 bye",
        "=== end: delivered, 1 message, 0.170 s, quit",
    ]


def test_the_tilde_is_of_the_speakers_leg() -> None:
    talk = Conversation().tls("server", verified=True).server("220 mx").client("EHLO app").server("250 mx")
    assert said(talk) == [
        "=== TLS on the server leg: TLSv1.3 TLS_AES_256_GCM_SHA384, verified",
        "<~  220 mx",
        " -> EHLO app",
        "<~  250 mx",
    ]
    both = Conversation().tls("client").tls("server").client("NOOP").server("250 ok")
    assert said(both)[2:] == [" ~> NOOP", "<~  250 ok"]


@pytest.mark.parametrize("upstream", ["sandbox:", "mock:"])
def test_who_is_embedded_answers_on_the_clients_leg(upstream: str) -> None:
    talk = Conversation(upstream=upstream)
    talk.server("220 hi").tls("client").client("EHLO app").server("250 hi")
    assert said(talk)[0] == "<-  220 hi"
    assert said(talk)[2:] == [" ~> EHLO app", "<~  250 hi"]


def test_what_the_proxy_asks_and_answers_is_plain_to_see() -> None:
    talk = (
        Conversation()
        .client("EHLO app", to=PROXY)
        .asks("EHLO app")
        .server("250-mx", "250 STARTTLS", to=PROXY)
        .asks("STARTTLS")
        .server("220 go", to=PROXY)
        .tls("server")
        .asks("EHLO app")
        .server("250 mx", to=PROXY)
        .server("250 mx", from_=PROXY)
    )
    assert said(talk) == [
        "->| EHLO app",
        "|-> EHLO app",
        "|<- 250-mx",
        "|<- 250 STARTTLS",
        "|-> STARTTLS",
        "|<- 220 go",
        "=== TLS on the server leg: TLSv1.3 TLS_AES_256_GCM_SHA384, NOT VERIFIED",
        "|~> EHLO app",
        "|<~ 250 mx",
        "<-| 250 mx",
    ]


def test_failures_say_what_to_do() -> None:
    talk = (
        Conversation()
        .tls("client", error="refused by the app", alert="unknown_ca", advice="smtpproxy trust")
        .finding("client-tls", "TLS with the client failed")
        .gap(events=1, octets=2)
        .end("failed", "client-eof")
    )
    assert said(talk) == [
        "*** TLS on the client leg failed: refused by the app (alert unknown_ca): smtpproxy trust",
        "=== client-tls: TLS with the client failed",
        "*** not recorded: 1 event (2 octets): the store was full",
        "*** end: failed, 0 messages, 0.040 s, client-eof",
    ]


def test_styles_tell_who_and_what() -> None:
    talk = (
        Conversation().client("MAIL FROM:<a@x>").server("550 no").server("250 ok", from_=PROXY).finding("nul")
    )
    transcript = Transcript()
    styles = [line.style for event in talk.events for line in transcript.render(event)]
    assert styles == ["info", "client", "rejection", "proxy", "finding"]


def test_line_ends_other_than_crlf_are_shown() -> None:
    assert said(Conversation().client(b"NOOP\n").client(b"A\rB\r\n").client(b"tail")) == [
        " -> NOOP\\n",
        " -> A\\rB",
        " -> tail",
    ]


def test_a_blank_line_is_a_bare_mark() -> None:
    assert said(Conversation().client("").server("500 what?")) == [" ->", "<-  500 what?"]


def test_content_is_shown_as_far_as_asked_for() -> None:
    talk = Conversation().client("DATA").content("one\r\ntwo\r\n", "..three\r\n")
    assert said(talk, Transcript(content_lines=2)) == [
        " -> DATA",
        " -> one",
        " -> two",
        "=== message 1: 19 octets, the first 2 lines shown",
        " -> .",
    ]
    assert said(talk, Transcript(content_lines=3))[-2] == "=== message 1: 19 octets"
    assert said(talk, Transcript(content_lines=None))[1:4] == [" -> one", " -> two", " -> ..three"]


def test_the_bound_holds_for_each_message() -> None:
    talk = Conversation().client("DATA").content("a\r\nb\r\n").client("DATA").content("c\r\nd\r\n")
    assert [line for line in said(talk, Transcript(content_lines=1)) if line[4:] in ("a", "b", "c", "d")] == [
        " -> a",
        " -> c",
    ]


def test_a_chunk_that_looks_like_the_terminator_is_content() -> None:
    talk = Conversation().chunk(b"a\r\n").chunk(b".\r\n", last=True)
    assert said(talk) == [" -> BDAT 3", " -> BDAT 3 LAST", "=== message 1: 6 octets"]


def test_what_was_not_kept_is_told() -> None:
    assert said(Conversation().client("DATA").digested(70_000))[1] == (
        "=== 70,000 octets not kept, sha256 of the piece " + "0" * 64
    )


def test_long_lines_and_opaque_octets_are_bounded() -> None:
    [line] = said(Conversation().client("X" * (MAX_LINE_CHARACTERS + 7)))
    assert line == " -> " + "X" * MAX_LINE_CHARACTERS + " … (7 characters more)"
    shown = said(Conversation().opaque(b"x\r\n" * 1000))
    assert (len(shown), shown[-1]) == (MAX_OPAQUE_LINES + 1, " -> …")


def test_times_and_tags_where_sessions_interleave() -> None:
    transcript = Transcript(has_times=True, has_tags=True)
    one, two = Conversation("01K-ONE11"), Conversation("01K-TWO22").tls("client")
    one.client("NOOP")
    two.client("NOOP")
    rendered = [
        line.text
        for event in (one.events[0], two.events[0], two.events[1], one.events[1], two.events[2])
        for line in transcript.render(event)
    ]
    assert [line[:23] for line in rendered[3:]] == ["[ONE11]     0.010  -> N", "[TWO22]     0.020  ~> N"]


@given(st.binary(min_size=1, max_size=80), st.text(max_size=30))
def test_nothing_hostile_reaches_the_terminal(octets: bytes, text: str) -> None:
    talk = (
        Conversation()
        .client(octets + b"\r\n")
        .opaque(octets, from_=SERVER, to=CLIENT)
        .client("DATA")
        .content(octets)
        .finding("nul", text)
        .tls("server", error=text, alert=text, advice=text)
    )
    for line in lines(talk, transcript=Transcript(content_lines=None, has_tags=True, has_times=True)):
        assert line.isprintable()


def test_an_ended_session_is_forgotten() -> None:
    transcript = Transcript()
    lines(Conversation().tls("client").end(), transcript=transcript)
    assert said(Conversation().client("NOOP"), transcript=transcript) == [" -> NOOP"]
