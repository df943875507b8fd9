"""TLS in a replay: as recorded, as the target's URL says, and what a missing or an extra upgrade means."""

import pytest

from smtpproxy.recording.overrides import Overrides, ReplayHeader, ReplyRule
from smtpproxy.replay.exchange import Gone
from smtpproxy.session.events import TlsInfo
from tests.conversation import Conversation
from tests.replay.playing import SILENT, Answer, Played, plan_for, script_of

EHLO, EHLO_TLS = "250-mx\n250 STARTTLS", "250-mx\n250 AUTH PLAIN"


def plain() -> Conversation:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 STARTTLS")
    return talk.client("MAIL FROM:<a@b>").server("250 ok").client("QUIT").server("221 bye").end("empty")


def upgraded(*, has_auth: bool = False) -> Conversation:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 STARTTLS")
    talk.client("STARTTLS").server("220 go").tls("server").client("EHLO app").server(
        "250-mx", "250 AUTH PLAIN"
    )
    if has_auth:
        talk.client("AUTH PLAIN AGEAYg==", mechanism="PLAIN").server("235 in")
    return talk.client("MAIL FROM:<a@b>").server("250 ok").client("QUIT").server("221 bye").end("empty")


def implicit() -> Conversation:
    talk = Conversation().tls("server").server("220 mx").client("EHLO app").server("250-mx", "250 AUTH PLAIN")
    return talk.client("QUIT").server("221 bye").end("empty")


def test_starttls_as_recorded() -> None:
    played = Played(upgraded(), ["220 mx", EHLO, "220 go", EHLO_TLS, "250 ok", "221 bye"])
    assert played.lines == ["EHLO app", "STARTTLS", "<TLS>", "EHLO app", "MAIL FROM:<a@b>", "QUIT"]
    assert played.result.status == "same"


def test_an_extra_upgrade_is_allowed_by_a_rule_for_the_connection() -> None:
    answers: list[Answer] = ["220 mx", EHLO, "250 ok", "221 bye"]
    told = Played(plain(), answers, plan=plan_for("smtps://mx.example.com"))
    (difference,) = told.result.differences
    assert '{"verb":"connect","ignore":true}' in difference.fix
    rule = ReplyRule(verb="connect", ignore=True)
    script = script_of(plain(), overrides=Overrides(replay=ReplayHeader(steps=(rule,))))
    allowed = Played(script, answers, plan=plan_for("smtps://mx.example.com"))
    assert allowed.result.status == "same"
    assert allowed.result.steps[0].notes[0].startswith("extra upgrade")


def test_a_server_that_waits_for_tls_is_told() -> None:
    played = Played(plain(), [SILENT])
    assert played.result.steps[0].notes[-1].endswith("may wait for TLS: smtps:// begins it")
    assert not any("TLS" in note for note in Played(plain(), ["220 mx", SILENT]).result.steps[1].notes)


def test_starttls_that_is_refused_is_a_missing_upgrade_and_the_session_goes_on() -> None:
    played = Played(upgraded(), ["220 mx", EHLO, "454 not now", EHLO_TLS, "250 ok", "221 bye"])
    assert played.lines[-2:] == ["MAIL FROM:<a@b>", "QUIT"]
    assert [(step, what) for step, what, _ in played.differences] == [(3, "reply"), (3, "tls")]
    assert played.differences[1][2].startswith("missing upgrade")


def test_a_missing_upgrade_ends_the_session_before_auth() -> None:
    played = Played(upgraded(has_auth=True), ["220 mx", EHLO, "454 not now", EHLO_TLS])
    assert played.lines[-1] == "EHLO app"
    assert played.verdicts == ["same", "same", "differs", "same"] + ["not-played"] * 3
    assert played.differences[-1][2] == "steps 5 to 7 were not played because of step 3"


def test_a_handshake_that_fails_is_the_end() -> None:
    bad = TlsInfo(error="the certificate of mx is not good", advice="trust its issuer")
    played = Played(upgraded(), ["220 mx", EHLO, "220 go"], handshake=bad)
    (difference, _) = played.result.differences
    assert (difference.step, difference.what, difference.fix) == (3, "tls", "trust its issuer")
    assert "the certificate of mx is not good" in difference.text


def test_a_server_that_begins_in_tls_needs_nothing_that_leads_to_it() -> None:
    played = Played(upgraded(), ["220 mx", EHLO_TLS, "250 ok", "221 bye"], plan=plan_for("smtps://127.0.0.1"))
    assert played.lines == ["EHLO app", "MAIL FROM:<a@b>", "QUIT"]
    assert played.result.status == "same"
    assert played.verdicts == ["same", "ignored", "ignored"] + ["same"] * 3


def test_what_was_refused_before_starttls_is_left_out_with_it() -> None:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 STARTTLS")
    talk.client("MAIL FROM:<a@b>").server("530 STARTTLS first").client("STARTTLS").server("220 go").tls(
        "server"
    )
    talk.client("EHLO app").server("250 mx").client("MAIL FROM:<a@b>").server("250 ok").end("empty")
    played = Played(talk, ["220 mx", "250 mx", "250 ok"], plan=plan_for("smtps://127.0.0.1"))
    assert (played.lines, played.result.status) == (["EHLO app", "MAIL FROM:<a@b>"], "same")


def test_implicit_tls_as_recorded() -> None:
    played = Played(implicit(), ["220 mx", EHLO_TLS, "221 bye"], plan=plan_for("smtps://127.0.0.1"))
    assert played.result.status == "same"


def test_implicit_tls_that_is_missing() -> None:
    played = Played(implicit(), ["220 mx", EHLO_TLS, "221 bye"])
    assert [(step, what) for step, what, _ in played.differences] == [(1, "tls")]


@pytest.mark.parametrize("to", ["smtps://127.0.0.1", "smtp+starttls://127.0.0.1"])
def test_tls_that_was_not_there_is_an_extra_upgrade(to: str) -> None:
    before: list[Answer] = ["220 mx"] if to.startswith("smtps") else ["220 mx", EHLO, "220 go"]
    played = Played(plain(), [*before, "250 mx", "250 ok", "221 bye"], plan=plan_for(to))
    assert played.lines[-3:] == ["EHLO app", "MAIL FROM:<a@b>", "QUIT"]
    assert [(what, text.split(":")[0]) for _, what, text in played.differences] == [("tls", "extra upgrade")]


def test_an_upgrade_that_the_url_demands_is_said_with_the_apps_own_name() -> None:
    played = Played(
        plain(),
        ["220 mx", EHLO, "220 go", "250 mx", "250 ok", "221 x"],
        plan=plan_for("smtp+starttls://127.0.0.1"),
    )
    assert played.lines[:4] == ["EHLO app", "STARTTLS", "<TLS>", "EHLO app"]


def test_an_upgrade_that_is_recorded_is_not_said_twice() -> None:
    played = Played(
        upgraded(),
        ["220 mx", EHLO, "220 go", EHLO_TLS, "250 ok", "221 bye"],
        plan=plan_for("smtp+starttls://127.0.0.1"),
    )
    assert (played.lines.count("STARTTLS"), played.result.status) == (1, "same")


@pytest.mark.parametrize("talk", [plain(), upgraded()])
def test_nothing_goes_out_in_clear_where_the_url_demands_tls(talk: Conversation) -> None:
    played = Played(talk, ["220 mx", EHLO, "454 not now"], plan=plan_for("smtp+starttls://127.0.0.1"))
    assert played.lines == ["EHLO app", "STARTTLS"]
    assert any("lets nothing go out in clear" in text for _, _, text in played.differences)


def test_helo_is_no_way_round_an_upgrade() -> None:
    talk = (
        Conversation()
        .server("220 mx")
        .client("HELO app")
        .server("250 mx")
        .client("MAIL FROM:<a@b>")
        .server("250 ok")
    )
    played = Played(
        talk.end("empty"),
        ["220 mx", EHLO, "220 go", "250 mx", "250 ok"],
        plan=plan_for("smtp+starttls://127.0.0.1"),
    )
    assert played.lines == ["EHLO app", "STARTTLS", "<TLS>", "HELO app", "MAIL FROM:<a@b>"]


def test_what_was_offered_in_clear_does_not_count_behind_tls() -> None:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 PIPELINING")
    talk.client("STARTTLS").server("220 go").tls("server")
    first = talk.n + 1
    talk.client("MAIL FROM:<a@b>", group=1).client("RCPT TO:<c@d>", group=1)
    talk.server("250 ok", answers=first).server("250 ok", answers=first + 1).end("empty")
    played = Played(talk, ["220 mx", "250-mx\n250 PIPELINING", "220 go", "250 ok", "250 ok"])
    assert played.said[-2:] == ["MAIL FROM:<a@b>\n", "RCPT TO:<c@d>\n"]


def test_a_tls_server_that_cannot_be_had_is_an_error() -> None:
    gone = Gone(reason="mx: no TLS", is_connected=False, tls=TlsInfo(error="no TLS", advice="use smtp://"))
    played = Played(implicit(), [], plan=plan_for("smtps://127.0.0.1"), connected=gone)
    assert (played.result.status, played.result.error) == ("error", "mx: no TLS; use smtp://")
