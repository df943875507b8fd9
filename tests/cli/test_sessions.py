"""`smtpproxy sessions` on stores with nothing, with little and with odd things in them."""

import json
from pathlib import Path

import pytest

from smtpproxy.cli.sessions import KEYS
from tests.cli.conftest import Run, keep
from tests.conversation import Conversation, delivery


def test_a_json_line_for_each_session_newest_first(smtpproxy: Run, store: Path) -> None:
    keep(
        store,
        delivery("01K-OLD", started="2026-11-23T17:00:00.000000Z"),
        delivery("01K-NEW", started="2026-11-23T18:00:00.000000Z"),
    )
    ran = smtpproxy("sessions", "--store", store, "--json")
    new, old = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert (new["session"], old["session"]) == ("01K-NEW", "01K-OLD")
    assert tuple(new) == KEYS
    assert new == {
        "session": "01K-NEW",
        "started": "2026-11-23T18:00:00.000000Z",
        "duration": 0.17,
        "client": "127.0.0.1:50312",
        "upstream": "smtp://mx.example.com:25",
        "outcome": "delivered",
        "mail_from": "alice@example.com",
        "rcpt_to": ["bob@example.com", "carol@example.com"],
        "last_code": 250,
        "messages": 1,
        "bytes": 70,
        "tls_client": "",
        "tls_server": "",
        "findings": [],
    }


def test_no_mail_is_null(smtpproxy: Run, store: Path) -> None:
    keep(store, Conversation().server("220 mx").client("NOOP").end("empty"))
    [line] = smtpproxy("sessions", "--store", store, "--json").out.splitlines()
    assert json.loads(line)["mail_from"] is None


def test_probes_are_listed_only_with_all(smtpproxy: Run, store: Path) -> None:
    keep(store, Conversation().server("220 mx").end("empty", "client-eof"))
    assert smtpproxy("sessions", "--store", store, "--json") == (0, "", "")
    assert len(smtpproxy("sessions", "--store", store, "--json", "--all").out.splitlines()) == 1


def test_limit_takes_the_newest(smtpproxy: Run, store: Path) -> None:
    keep(store, *(delivery(f"01K-{n}", started=f"2026-11-23T17:00:0{n}.000000Z") for n in range(4)))
    ran = smtpproxy("sessions", "--store", store, "--json", "--limit", "2")
    assert [json.loads(line)["session"] for line in ran.out.splitlines()] == ["01K-3", "01K-2"]


def test_a_table_for_people(smtpproxy: Run, store: Path) -> None:
    keep(store, delivery("01K-ONE", is_open=True).finding("bare-lf").end())
    ran = smtpproxy("sessions", "--store", store)
    heading, row = ran.out.splitlines()
    assert heading.split("  ")[0] == "SESSION"
    assert row.split() == [
        *("01K-ONE", "2026-11-23", "17:00:00", "delivered", "alice@example.com", "bob@example.com", "+1"),
        *("250", "1", "70", "plain/plain", "bare-lf"),
    ]
    assert "\t" not in ran.out
    assert "\x1b" not in ran.out


def test_hostile_addresses_are_escaped_in_both(smtpproxy: Run, store: Path) -> None:
    keep(store, Conversation("01K-EVIL").client("MAIL FROM:<\x1b]0;evil\x07\u202e\x9b@x>").end("rejected"))
    table = smtpproxy("sessions", "--store", store).out
    assert "\\x1b]0;evil\\x07\\u202e\\x9b@x" in table
    lines = smtpproxy("sessions", "--store", store, "--json").out
    assert all(line.isprintable() for line in lines.splitlines())
    assert json.loads(lines)["mail_from"] == "\x1b]0;evil\x07\u202e\x9b@x"


def test_the_store_comes_from_the_environment_too(
    smtpproxy: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, delivery())
    monkeypatch.setenv("SMTPPROXY_STORE", str(store))
    assert len(smtpproxy("sessions", "--json").out.splitlines()) == 1


def test_the_store_comes_from_smtpproxy_toml_too(smtpproxy: Run, store: Path, tmp_path: Path) -> None:
    keep(store, delivery())
    (tmp_path / "smtpproxy.toml").write_text(f'store = "{store.name}"\n')
    assert len(smtpproxy("sessions", "--json").out.splitlines()) == 1
    (tmp_path / "smtpproxy.toml").write_text("store = ")
    ran = smtpproxy("sessions", "--json")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)


def test_a_store_that_is_not_there_has_no_session(smtpproxy: Run, store: Path) -> None:
    ran = smtpproxy("sessions", "--store", store, "--json")
    assert ran == (0, "", f"smtpproxy: no session: there is no store at {store} yet\n")
    assert not store.exists()


def test_a_store_of_none_cannot_be_read(smtpproxy: Run) -> None:
    ran = smtpproxy("sessions", "--store", "none")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)


def test_a_file_that_is_no_store_is_one_line_and_exit_2(smtpproxy: Run, store: Path) -> None:
    store.write_text("not a database at all, but long enough to look at" * 40)
    ran = smtpproxy("sessions", "--store", store)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
