"""Postfix smtpd in a private directory: configuration, start, stop, log and mail; knows nothing of the proxy.

One `master` runs three listeners (plain, STARTTLS, implicit TLS), all with Cyrus SASL over a sasldb of its
own. Mail to the mailboxes of `MAILBOX_DOMAIN` lands in maildirs, so that what arrived can be compared.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ends import Patience, free_port

MAILBOX_DOMAIN = "example.test"
MAILBOXES = ("bob", "carol")
SIZE_LIMIT = 1_000_000
QUEUE_FOLDERS = (
    "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace"
)

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/maillog
maillog_file_prefixes = {root}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.test
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = texthash:{root}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_sasl_auth_enable = yes
smtpd_sasl_security_options = noanonymous
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {root}/sasl
smtpd_tls_cert_file = {root}/server.pem
smtpd_tls_key_file = {root}/server.key
smtpd_tls_session_cache_database =
smtpd_tls_loglevel = 1
message_size_limit = {size}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtputf8_enable = yes
disable_dns_lookups = yes
smtp_host_lookup = native
starttls_level = may
"""

# Nothing is chrooted: the queue directory is a fresh one without /etc and libraries.
MASTER_CF = """\
127.0.0.1:{plain}    inet n - n - - smtpd -o syslog_name=plain -o smtpd_tls_security_level=none
127.0.0.1:{starttls} inet n - n - - smtpd -o syslog_name=starttls -o smtpd_tls_security_level=$starttls_level
127.0.0.1:{implicit} inet n - n - - smtpd -o syslog_name=implicit -o smtpd_tls_wrappermode=yes
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
tlsmgr   unix - - n 1000? 1 tlsmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp     unix - - n - - smtp
error    unix - - n - - error
discard  unix - - n - - discard
virtual  unix - n n - - virtual
anvil    unix - - n - 1 anvil
postlog  unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, kw_only=True)
class Postfix:
    """A running Postfix.

    Attributes:
        plain, starttls, implicit: the ports, by how TLS starts there.
        root: its directory, with the log and the maildirs.
    """

    plain: int
    starttls: int
    implicit: int
    root: Path

    def log(self) -> str:
        """The mail log as it is now."""
        return (self.root / "maillog").read_text(errors="replace")

    def disconnects(self, service: str) -> list[dict[str, int]]:
        """How many of each command every session on that service had, in the order they ended.

        Postfix counts `ok/all` where some were refused; what was said is `all`.
        """
        sessions = []
        for counts in re.findall(rf"{service}/smtpd\[\d+\]: disconnect from \S+ (.*)", self.log()):
            words = (word.split("=") for word in counts.split())
            sessions.append({verb: int(number.split("/")[-1]) for verb, number in words})
        return sessions

    def wait_for_disconnects(self, service: str, number: int) -> list[dict[str, int]]:
        """The same, as soon as there are that many."""
        return Patience(f"{number} sessions in the log of {service}").until(
            lambda: found if len(found := self.disconnects(service)) >= number else None
        )

    def mail_with(self, mailbox: str, marker: bytes) -> bytes:
        """The delivered message that holds the marker, as it stands in the maildir, once it is there."""

        def find() -> bytes | None:
            for file in (self.root / "mail" / mailbox / "new").glob("*"):
                if marker in (text := file.read_bytes()):
                    return text
            return None

        return Patience(f"mail for {mailbox} with {marker!r}").until(find)


@contextmanager
def run_postfix(
    *,
    program: Callable[[str], str],
    certificate: bytes,
    key: bytes,
    accounts: dict[str, str],
    mailboxes: Sequence[str] = MAILBOXES,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Postfix]:
    """Start Postfix and stop it by its process group.

    Args:
        program: finds system programs by name.
        certificate: the server's certificate with its chain, PEM.
        key: its private key, PEM.
        accounts: password by user, for AUTH.
        mailboxes: local parts that exist in MAILBOX_DOMAIN.
        settings: of main.cf, in place of those above; `starttls_level` is the TLS level of that port.
    """
    daemons = Path(program("postconf")).parent  # present wherever Postfix is
    master = _config_value(str(daemons / "postconf"), "daemon_directory") + "/master"
    user = pwd.getpwnam("postfix")
    # pytest's own temporary directories are closed to the user that smtpd runs as.
    root = Path(tempfile.mkdtemp(prefix="postfix-"))
    root.chmod(0o755)
    try:
        ports = {name: free_port() for name in ("plain", "starttls", "implicit")}
        _write_files(root, ports, certificate, key, user)
        _write_settings(root, mailboxes, settings or {})
        _create_accounts(program("saslpasswd2"), root, accounts)
        _age(root)
        with (root / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [master, "-c", str(root), "-d"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        try:
            postfix = Postfix(root=root, **ports)
            Patience("Postfix to start").until(
                lambda: "daemon started" in _read(root / "maillog") or process.poll() is not None
            )
            if process.poll() is not None:
                raise RuntimeError(f"Postfix ended: {_read(root / 'stderr')}{_read(root / 'maillog')}")
            yield postfix
        finally:
            # smtpd and its like are children of the master, in its process group.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
    finally:
        shutil.rmtree(root)


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def _config_value(postconf: str, name: str) -> str:
    return subprocess.run([postconf, "-h", name], check=True, capture_output=True, text=True).stdout.strip()


def _write_files(
    root: Path, ports: dict[str, int], certificate: bytes, key: bytes, user: pwd.struct_passwd
) -> None:
    for folder in QUEUE_FOLDERS.split():
        (root / "queue" / folder).mkdir(parents=True)
        os.chown(root / "queue" / folder, user.pw_uid, -1)
    # As postfix-script creates them: these are root's, the rest is the mail owner's.
    os.chown(root / "queue" / "pid", 0, 0)
    for folder in ("data", "mail", "sasl"):
        (root / folder).mkdir()
        os.chown(root / folder, user.pw_uid, user.pw_gid)
    (root / "main.cf").write_text(
        MAIN_CF.format(root=root, domain=MAILBOX_DOMAIN, uid=user.pw_uid, gid=user.pw_gid, size=SIZE_LIMIT)
    )
    (root / "master.cf").write_text(MASTER_CF.format(**ports))
    (root / "server.pem").write_bytes(certificate)
    (root / "server.key").touch(mode=0o600)
    (root / "server.key").write_bytes(key)
    (root / "sasl" / "smtpd.conf").write_text(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
        f"sasldb_path: {root}/sasl/sasldb2\nmech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256\n"
    )


def _write_settings(root: Path, mailboxes: Sequence[str], settings: Mapping[str, str]) -> None:
    (root / "mailboxes").write_text("".join(f"{name}@{MAILBOX_DOMAIN} {name}/\n" for name in mailboxes))
    main = root / "main.cf"
    lines = [line for line in main.read_text().splitlines() if line.split(" ")[0] not in settings]
    main.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]) + "\n")


def _age(root: Path) -> None:
    """Date the configuration back: Postfix waits while a file is so new that it may be half written."""
    past = time.time() - 60
    for name in ("main.cf", "master.cf", "mailboxes"):
        os.utime(root / name, (past, past))


def _create_accounts(saslpasswd2: str, root: Path, accounts: dict[str, str]) -> None:
    database = root / "sasl" / "sasldb2"
    for name, password in accounts.items():
        # Postfix's smtpd_sasl_local_domain is empty: the realm is its host name.
        subprocess.run(
            [saslpasswd2, "-p", "-c", "-u", "mx.example.test", "-f", str(database), name],
            input=password.encode(),
            check=True,
        )
    if accounts:
        shutil.chown(database, "postfix")
