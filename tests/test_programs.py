"""A missing program skips on a developer's machine and fails in CI."""

import pytest

from tests.programs import program


def test_a_program_is_found_by_name() -> None:
    assert program("python3").endswith("/python3")


def test_a_missing_program_skips_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTPPROXY_REQUIRE_PROGRAMS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program is not installed .*apt-get install"):
        program("no-such-program")


def test_where_programs_are_required_a_missing_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPPROXY_REQUIRE_PROGRAMS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        program("no-such-program")
