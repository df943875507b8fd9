"""The one table of settings: flags, variables, keys of smtpproxy.toml and the docs come from it."""

from dataclasses import dataclass

from smtpproxy.config import readers
from smtpproxy.config.readers import Reader

ENVIRONMENT_PREFIX = "SMTPPROXY_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set.

    Attributes:
        key: its name in smtpproxy.toml; the flag has hyphens, the variable capitals.
        read: turns what was written into a checked value.
        takes: what the flag is followed by; "" for a switch.
        help: one sentence for people.
        default: how the default reads; "" where there is none.
        is_route: whether it belongs to a route, and so may stand in [[route]].
        is_repeatable: whether the flag may be given several times.
        is_secret: whether what was written must never be repeated.
    """

    key: str
    read: Reader
    takes: str
    help: str
    default: str = ""
    is_route: bool = False
    is_repeatable: bool = False
    is_secret: bool = False

    @property
    def flag(self) -> str:
        """Its flag, such as --upstream-ca."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable, such as SMTPPROXY_UPSTREAM_CA."""
        return ENVIRONMENT_PREFIX + self.key.upper()

    @property
    def is_switch(self) -> bool:
        """Whether the flag stands alone."""
        return not self.takes


def _route(
    key: str, read: Reader, takes: str, text: str, default: str = "", *, is_repeatable: bool = False
) -> Setting:
    return Setting(
        key=key,
        read=read,
        takes=takes,
        help=text,
        default=default,
        is_route=True,
        is_repeatable=is_repeatable,
    )


def _whole(key: str, read: Reader, takes: str, text: str, default: str = "") -> Setting:
    return Setting(key=key, read=read, takes=takes, help=text, default=default)


_SWITCH = readers.read_switch
_PATH = readers.read_path
_TLS_VERSION = readers.read_tls_version
_TLS_VERSIONS = "1.0|1.1|1.2|1.3"

SETTINGS: tuple[Setting, ...] = (
    # where from, where to
    _route(
        "listen",
        readers.read_listen,
        "URL",
        "Where the app connects: smtp://, smtps://, lmtp:// or unix:/path; port 0 takes a free one.",
        "smtp://127.0.0.1:1025",
        is_repeatable=True,
    ),
    _route(
        "upstream",
        readers.read_upstream,
        "URL",
        "Where it leads: smtp://, smtp+starttls://, smtps://, lmtp://, unix:/path or sandbox:.",
        "sandbox:",
        is_repeatable=True,
    ),
    _route(
        "connect_to",
        readers.read_host_and_port,
        "HOST:PORT",
        "Dial this instead of the upstream's address; TLS still checks the upstream's name.",
    ),
    # TLS with the server
    _route("upstream_ca", _PATH, "FILE", "Trust the certificates in this PEM file.", "the system's roots"),
    _route("upstream_insecure", _SWITCH, "", "Do not check the server's certificate; every session says so."),
    _route("upstream_cert", _PATH, "FILE", "Our client certificate for the server (PEM)."),
    _route("upstream_key", _PATH, "FILE", "Its key (PEM).", "in the same file"),
    _route(
        "upstream_tls_min",
        _TLS_VERSION,
        _TLS_VERSIONS,
        "Lowest TLS version with the server; 1.0 and 1.1 also lower OpenSSL's security level.",
        "1.2",
    ),
    _route(
        "upstream_tls_ciphers",
        readers.read_text,
        "STRING",
        "OpenSSL cipher string for TLS 1.2 and older with the server.",
        "OpenSSL's",
    ),
    # TLS with the app
    _route(
        "listen_cert",
        _PATH,
        "FILE",
        "The certificate the app is shown (PEM, with its chain).",
        "issued by the authority in --certs",
    ),
    _route("listen_key", _PATH, "FILE", "Its key (PEM).", "in the same file"),
    _route(
        "tls_min",
        _TLS_VERSION,
        _TLS_VERSIONS,
        "Lowest TLS version with the app; 1.0 and 1.1 also lower OpenSSL's security level.",
        "1.2",
    ),
    _route(
        "tls_ciphers",
        readers.read_text,
        "STRING",
        "OpenSSL cipher string for TLS 1.2 and older with the app.",
        "OpenSSL's",
    ),
    _route("require_tls", _SWITCH, "", "Refuse MAIL from the app before TLS (530)."),
    _route("tunnel", _SWITCH, "", "Pass TLS on unread; only metadata of it is recorded."),
    # how the conversation is passed on
    _route(
        "accept_proxy_protocol",
        _SWITCH,
        "",
        "Demand a PROXY protocol header (v1 or v2) from a balancer in front.",
    ),
    _route(
        "ehlo",
        readers.read_ehlo,
        "KEYWORD=pass|hide",
        "Show or hide this keyword of the server's EHLO reply.",
        is_repeatable=True,
    ),
    _route("strict_ehlo", _SWITCH, "", "Hide keywords of the EHLO reply that smtpproxy does not know."),
    # what is kept
    _whole(
        "store",
        readers.read_store,
        "PATH|none",
        "The event log; none records nothing.",
        "in the user's data folder",
    ),
    _whole(
        "certs",
        _PATH,
        "DIR",
        "The authority's folder; the authority is created if missing.",
        "in the user's config folder",
    ),
    _whole("keep_secrets", _SWITCH, "", "Record passwords and tokens too; every session says so."),
    _whole(
        "bodies",
        readers.read_choice("full", "headers", "digest"),
        "full|headers|digest",
        "How much of messages is recorded.",
        "full",
    ),
    _whole(
        "retention_days", readers.read_days, "DAYS", "Remove sessions older than this; 0 keeps them.", "7"
    ),
    _whole(
        "retention_size",
        readers.read_octets,
        "SIZE",
        "Remove the oldest sessions beyond this size; 0 is no limit.",
        "2GiB",
    ),
    _whole(
        "on_record_failure",
        readers.read_choice("continue", "refuse"),
        "continue|refuse",
        "When recording fails: let mail flow on unrecorded, or refuse new sessions with 421.",
        "continue",
    ),
    _whole("keylog", _PATH, "DIR", "Write TLS secrets there, one SSLKEYLOGFILE per leg, for Wireshark."),
    # bounds
    _whole("max_sessions", readers.read_positive_count, "N", "Sessions at a time; more get 421.", "1000"),
    _whole(
        "max_sessions_per_address",
        readers.read_count,
        "N",
        "Sessions at a time from one address; 0 is no limit.",
        "0",
    ),
    _whole("idle_timeout", readers.read_seconds, "TIME", "End a session after this much silence.", "15m"),
    _whole(
        "shutdown_timeout", readers.read_seconds, "TIME", "How long sessions may go on after SIGTERM.", "10s"
    ),
    # what is shown
    _whole("json", _SWITCH, "", "Standard output is a ready line and then event lines, for programs."),
    _whole("quiet", _SWITCH, "", "Nothing on standard output but the header (with --json: the ready line)."),
    _whole("log", _PATH, "FILE", "Append the transcript to this text file as well."),
    # the page
    _whole(
        "web",
        readers.read_web_address,
        "HOST:PORT",
        "Where the page, the REST API and the live websocket are; port 0 takes a free one.",
        "127.0.0.1:8025",
    ),
    _whole("no_web", _SWITCH, "", "No web page."),
    Setting(
        key="web_token",
        read=readers.read_web_token,
        takes="TOKEN",
        help="What must be known to use the page; needed off loopback. Safer as a variable: flags are seen.",
        is_secret=True,
    ),
    Setting(
        key="web_host",
        read=readers.read_web_host,
        takes="NAME[:PORT]",
        help="A further name that the page may be called by, such as a reverse proxy's.",
        is_repeatable=True,
    ),
)

BY_KEY: dict[str, Setting] = {setting.key: setting for setting in SETTINGS}
