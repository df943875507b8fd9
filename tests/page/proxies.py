"""A proxy with its page in a process of its own, and mail to send through it; it knows no browser."""

import smtplib
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path
from urllib.request import urlopen

import msgspec

from tests.cli.running import Running, clean_environment

DEADLINE_S = 30.0


class WatchedProxy:
    """`smtpproxy run` with its page, in a folder; its ports stay the same when it is started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._flags = flags
        self._folder = folder
        self._listen = "smtp://127.0.0.1:0"
        self._web = "127.0.0.1:0"
        self.store = folder / "log.db"

    def __enter__(self) -> "WatchedProxy":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__()

    def start(self) -> None:
        """Start it, on the ports that it had before."""
        flags = ("--listen", self._listen, "--web", self._web, "--store", str(self.store))
        self._running = Running(
            self._folder,
            "--json",
            *flags,
            *self._flags,
            "--certs",
            str(self._folder / "certs"),
            command=("run",),
        )
        ready, self.port = self._running.ready()
        self.url: str = ready["web"]
        self._listen = ready["listen"][0]
        self._web = self.url.removeprefix("http://")

    def stop(self) -> None:
        """Stop it as an operator would."""
        code, _ = self._running.stop()
        assert code == 0
        self._running.__exit__()

    def forget(self) -> None:
        """Remove its log, while it is stopped."""
        for file in self._folder.glob(f"{self.store.name}*"):
            file.unlink()

    def take(self, *recordings: Path) -> None:
        """Import recordings into its log, beside the running proxy."""
        subprocess.run(
            [sys.executable, "-m", "smtpproxy", "import", "--store", self.store, *recordings],
            cwd=self._folder,
            env=clean_environment(self._folder, {}),
            check=True,
            capture_output=True,
        )

    def session(self) -> smtplib.SMTP:
        """A client that has read the greeting."""
        return smtplib.SMTP("127.0.0.1", self.port, timeout=DEADLINE_S)

    def send(self, message: EmailMessage, *, mail_from: str = "", rcpt_to: tuple[str, ...] = ()) -> None:
        """Send a message in a session of its own; the envelope is the headers' unless given."""
        with self.session() as client:
            client.send_message(message, mail_from or None, rcpt_to or None)

    def api(self, path: str) -> object:
        """What the API answers to a GET."""
        with urlopen(f"{self.url}/api/v1{path}", timeout=DEADLINE_S) as answer:
            return msgspec.json.decode(answer.read())


def mail(subject: str, *, sender: str = "ada@example.com", to: str = "bob@example.com") -> EmailMessage:
    """A short text message."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message.set_content("Hello.\r\n")
    return message


def invoice() -> EmailMessage:
    """A message as apps send them: text, HTML with an image from elsewhere, a file."""
    message = mail(
        "Invoice 2026-1147", sender="Ada <ada@example.com>", to="Bob <bob@example.com>, team@example.com"
    )
    message.add_alternative(
        "<h1>Invoice 2026-1147</h1><p>It is <b>overdue</b>.</p><img src='http://tracker.invalid/x.png'>",
        subtype="html",
    )
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="invoice.pdf")
    return message


def hostile() -> EmailMessage:
    """A message that tries to run something wherever its text is shown."""
    message = mail("<script>window.pwned=1</script><img src=x onerror=window.pwned=2>")
    message["X-Evil"] = '"><svg onload=window.pwned=3>'
    message.add_alternative(
        "<p>Look here</p><script>window.pwned=4;top.pwned=5</script><img src=x onerror='top.pwned=6'>"
        "<iframe srcdoc='<script>top.pwned=7</script>'></iframe><a href='javascript:top.pwned=8'>click</a>"
        "<form action='/api/v1/sessions' method='post'><button>go</button></form>"
        "<meta http-equiv='refresh' content='0;url=http://elsewhere.invalid/'>",
        subtype="html",
    )
    message.add_attachment(
        b"x", maintype="text", subtype="html", filename="../../etc/<img src=x onerror=window.pwned=9>"
    )
    return message
