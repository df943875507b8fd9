"""Clients that nobody here wrote, behind one face: send a message to a URL, and what their own logs say."""

import re
import smtplib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.ends import PATIENCE_S, trusting
from tests.programs import program

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SENDER = "app@sender.test"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What a client is to do.

    Attributes:
        url: where the server is; smtps:// means TLS from the first octet.
        tls: plain, starttls or implicit.
        ca: the authority it trusts, and no other.
        message: headers and body with CRLF, neither stuffed nor terminated.
        folder: of its own, for files it needs.
        account: user and password, or None.
        mechanism: to be used for AUTH; "" leaves it to the client.
        options: further flags of the client.
        sender: the reverse-path.
        name: what it calls itself in EHLO.
    """

    url: str
    tls: str
    ca: Path
    message: bytes
    folder: Path
    recipients: Sequence[str] = ("bob@example.test",)
    account: tuple[str, str] | None = None
    mechanism: str = ""
    options: Sequence[str] = ()
    sender: str = SENDER
    name: str = "app.test"

    @property
    def host(self) -> str:
        """The URL's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The URL's port."""
        return urlsplit(self.url).port or 0


@dataclass(frozen=True, kw_only=True)
class Log:
    """What a client says it did.

    Attributes:
        status: its exit status; 0 where it succeeded.
        commands: the lines it says it sent outside of the content, AUTH's included; empty if it keeps no log.
        codes: the codes of the replies it says it got, each reply once.
        text: all of its output.
    """

    status: int
    commands: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    text: str = ""


Client = Callable[[Mail], Log]


def send_by_smtplib(mail: Mail) -> Log:
    """Python's smtplib, logging what passes its `send` and `getreply`."""
    commands: list[str] = []
    codes: list[int] = []
    context = trusting(mail.ca)

    class Logged(smtplib.SMTP):
        def send(self, s: "ReadableBuffer | str") -> None:
            data = s.encode("ascii") if isinstance(s, str) else bytes(s)
            if not data.endswith(b"\r\n.\r\n"):
                commands.append(data.decode().rstrip("\r\n"))
            super().send(s)

        def getreply(self) -> tuple[int, bytes]:
            code, text = super().getreply()
            codes.append(code)
            return code, text

    class Implicit(Logged, smtplib.SMTP_SSL):
        pass

    with (
        Implicit(mail.host, mail.port, mail.name, timeout=PATIENCE_S, context=context)
        if mail.tls == "implicit"
        else Logged(mail.host, mail.port, mail.name, timeout=PATIENCE_S)
    ) as smtp:
        if mail.tls == "starttls":
            smtp.starttls(context=context)
        if mail.account:
            _log_in(smtp, mail)
        refused = smtp.sendmail(mail.sender, list(mail.recipients), mail.message)
    return Log(status=len(refused), commands=commands, codes=codes)


def _log_in(smtp: smtplib.SMTP, mail: Mail) -> None:
    assert mail.account is not None
    if not mail.mechanism:
        smtp.login(*mail.account)
        return
    smtp.user, smtp.password = mail.account
    smtp.ehlo_or_helo_if_needed()
    match mail.mechanism:
        case "PLAIN":
            smtp.auth("PLAIN", smtp.auth_plain)
        case "CRAM-MD5":
            smtp.auth("CRAM-MD5", smtp.auth_cram_md5)
        case "LOGIN":
            # Without the user on its first line: the second shape that clients use.
            smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False)
        case other:
            raise AssertionError(f"smtplib has no {other}")


def send_by_swaks(mail: Mail) -> Log:
    """swaks, the field's hand tool; its transcript has every line."""
    body = mail.folder / "swaks-message"
    body.write_bytes(mail.message)
    command = [program("swaks"), "--server", f"{mail.host}:{mail.port}", "--ehlo", mail.name]
    command += ["--from", mail.sender, "--to", ",".join(mail.recipients), "--data", f"@{body}"]
    command += {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[mail.tls]
    if mail.tls != "plain":
        command += ["--tls-verify", "--tls-ca-path", str(mail.ca)]
    if mail.account:
        command += ["--auth", *([mail.mechanism] if mail.mechanism else [])]
        command += ["--auth-user", mail.account[0], "--auth-password", mail.account[1]]
    status, text = _run([*command, *mail.options])
    lines = re.findall(r"(?m)^ [-~]> ?(.*)$", text)
    codes = re.findall(r"(?m)^<(?:-|~|\*\*)\s+(\d{3})(?: .*)?$", text)
    return Log(
        status=status, commands=_without_content(lines), codes=[int(code) for code in codes], text=text
    )


def send_by_curl(mail: Mail) -> Log:
    """curl's SMTP, which its library brings to thousands of programs."""
    body = mail.folder / "curl-message"
    body.write_bytes(mail.message)
    scheme = "smtps" if mail.tls == "implicit" else "smtp"
    command = [program("curl"), "--silent", "--show-error", "--verbose", "--cacert", str(mail.ca)]
    command += ["--url", f"{scheme}://{mail.host}:{mail.port}/{mail.name}", "--mail-from", mail.sender]
    for recipient in mail.recipients:
        command += ["--mail-rcpt", recipient]
    command += ["--upload-file", str(body)]
    if mail.tls == "starttls":
        command += ["--ssl-reqd"]
    if mail.account:
        command += ["--user", ":".join(mail.account)]
        if mail.mechanism:
            command += ["--login-options", f"AUTH={mail.mechanism}"]
    status, text = _run([*command, *mail.options])
    return Log(
        status=status,
        commands=re.findall(r"(?m)^> (.*?)\r?$", text),
        codes=[int(code) for code in re.findall(r"(?m)^< (\d{3})(?: .*?)?\r?$", text)],
        text=text,
    )


def send_by_msmtp(mail: Mail) -> Log:
    """msmtp, on GnuTLS and GNU SASL instead of OpenSSL and Cyrus."""
    config = mail.folder / "msmtprc"
    config.touch(mode=0o600)
    settings = [
        "account default",
        f"host {mail.host}",
        f"port {mail.port}",
        f"from {mail.sender}",
        f"domain {mail.name}",
        f"tls {'off' if mail.tls == 'plain' else 'on'}",
        f"tls_starttls {'on' if mail.tls == 'starttls' else 'off'}",
        f"tls_trust_file {mail.ca}",
        "tls_crl_file",
    ]
    if mail.account:
        settings += [f"auth {mail.mechanism.lower() or 'on'}"]
        settings += [f"user {mail.account[0]}", f"password {mail.account[1]}"]
    config.write_text("\n".join(settings) + "\n")
    status, text = _run(
        [program("msmtp"), f"--file={config}", "--debug", *mail.options, "--", *mail.recipients],
        stdin=mail.message.replace(b"\r\n", b"\n"),
    )
    return Log(
        status=status,
        commands=_without_content(re.findall(r"(?m)^--> (.*?)\r?$", text)),
        codes=[int(code) for code in re.findall(r"(?m)^<-- (\d{3})(?: .*?)?\r?$", text)],
        text=text,
    )


def send_by_smtp_source(mail: Mail) -> Log:
    """Postfix's load generator: HELO only, no log, and a session for each message unless told otherwise."""
    body = mail.folder / "source-message"
    body.write_bytes(mail.message.replace(b"\r\n", b"\n"))
    (recipient,) = mail.recipients
    command = [program("smtp-source"), "-F", str(body), "-f", mail.sender, "-t", recipient]
    command += ["-M", mail.name]
    status, text = _run([*command, *mail.options, f"{mail.host}:{mail.port}"])
    return Log(status=status, text=text)


ADDED: dict[str, bytes] = {"swaks": b"\r\n", "smtp-source": b"\r\n"}
"""What a client puts behind the message it was given."""

CLIENTS: dict[str, Client] = {
    "smtplib": send_by_smtplib,
    "swaks": send_by_swaks,
    "curl": send_by_curl,
    "msmtp": send_by_msmtp,
    "smtp-source": send_by_smtp_source,
}


def _without_content(lines: list[str]) -> list[str]:
    """What stands between DATA and the last lone dot is shown with the same mark as commands."""
    if "DATA" not in lines or "." not in lines:
        return lines
    first = lines.index("DATA") + 1
    last = len(lines) - 1 - lines[::-1].index(".")
    return lines[:first] + lines[last + 1 :]


def _run(command: list[str], stdin: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S * 2,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
    )
    return done.returncode, done.stdout.decode(errors="replace")
