"""Credentials out of the environment and a file; no error repeats one."""

from pathlib import Path

import pytest

from smtpproxy.config.credentials import load_credentials
from smtpproxy.errors import ConfigError
from smtpproxy.replay.credentials import CredentialBook, Credentials, Login

ALICE = Login(step=1, mechanism="PLAIN", identity="alice")
BOB = Login(step=1, mechanism="PLAIN", identity="bob")
TOKEN = Login(step=1, mechanism="XOAUTH2", identity="alice")


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "credentials.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def found(book: CredentialBook, login: Login) -> tuple[str, str] | None:
    credentials = book.find(login)
    return None if credentials is None else (credentials.username, credentials.secret(login.kind))


def test_the_variables() -> None:
    book = load_credentials(None, {"SMTPPROXY_PASSWORD": "pw"})
    assert found(book, ALICE) == ("alice", "pw")
    assert found(book, TOKEN) is None
    book = load_credentials(
        None, {"SMTPPROXY_USERNAME": "me", "SMTPPROXY_PASSWORD": "pw", "SMTPPROXY_TOKEN": "t"}
    )
    assert (found(book, BOB), found(book, TOKEN)) == (("me", "pw"), ("me", "t"))
    assert found(load_credentials(None, {}), ALICE) is None


def test_a_file_goes_before_the_variables_and_an_account_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'password = "file"\n[accounts."alice"]\nusername = "real"\npassword = "hers"\n')
    book = load_credentials(path, {"SMTPPROXY_PASSWORD": "variable", "SMTPPROXY_TOKEN": "t"})
    assert (found(book, ALICE), found(book, BOB), found(book, TOKEN)) == (
        ("real", "hers"),
        ("bob", "file"),
        ("alice", "t"),
    )


def test_lines_of_key_and_value(tmp_path: Path) -> None:
    path = write(tmp_path, "# mine\nusername = me\n\npassword = p=w#1\n")
    assert found(load_credentials(path, {}), BOB) == ("me", "p=w#1")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"can be read by others: chmod 600 "):
        load_credentials(write(tmp_path, 'password = "pw"', mode), {})


@pytest.mark.parametrize(
    "text",
    [
        "password hunter2",
        "pass = hunter2",
        'pass = "hunter2"',
        'accounts = "hunter2"',
        "password = 12345",
        '[accounts.alice]\nhunter2 = "x"',
        'password = "hunter2\\r\\nRCPT"',
    ],
)
def test_no_error_repeats_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_credentials(write(tmp_path, text), {})
    assert "hunter2" not in str(refused.value)
    assert "12345" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_credentials(tmp_path / "none", {})


def test_line_ends_are_refused_in_variables_too() -> None:
    with pytest.raises(ConfigError, match="the password holds CR, LF or NUL"):
        load_credentials(None, {"SMTPPROXY_PASSWORD": "hunter2\n"})


def test_a_book_does_not_print() -> None:
    assert "pw" not in repr(CredentialBook(Credentials(password="pw")))
