"""How the client's next octets are read: states and transitions as one total table, and nothing else.

The relay runs this table; docs/states.md is drawn from it. What each state means:

preface    a PROXY protocol header is due (HAProxy's v1 or v2)
waiting    the server's leg is not ready yet; octets are held
command    lines are commands
held       a command's reply decides what comes next; octets are held (RFC 2920 3.1)
sasl       the next line is a SASL response (RFC 4954 4)
data       a message, up to CRLF.CRLF (RFC 5321 4.1.1.4)
chunk      a counted run of octets: BDAT's chunk (RFC 3030), XEXCH50's blob
starttls   TLS is about to begin; any octet in clear is injection (RFC 3207 6)
opaque     octets are passed on unread
drain      the session is ending; octets are recorded, and go nowhere
"""

from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal[
    "preface", "waiting", "command", "held", "sasl", "data", "chunk", "starttls", "opaque", "drain"
]
Trigger: TypeAlias = Literal[
    "header",  # the PROXY header is complete
    "ready",  # the server's leg can take octets
    "hold",  # a command whose reply must be seen first
    "count",  # a counted run of octets begins
    "upgrade",  # STARTTLS was said
    "challenge",  # 334
    "go-ahead",  # 354
    "answered",  # the reply that was waited for is in
    "line",  # the SASL response is complete
    "complete",  # the message or the counted run is complete
    "lost",  # replies and commands no longer match, or a mode we do not read
    "over",  # the session is ending
]

_ENDINGS: Final[dict[Trigger, State]] = {"lost": "opaque", "over": "drain"}

TRANSITIONS: Final[dict[State, dict[Trigger, State]]] = {
    "preface": {"header": "waiting", **_ENDINGS},
    "waiting": {"ready": "command", **_ENDINGS},
    "command": {"hold": "held", "count": "chunk", "upgrade": "starttls", **_ENDINGS},
    "held": {
        "challenge": "sasl",
        "go-ahead": "data",
        "count": "chunk",
        "answered": "command",
        **_ENDINGS,
    },
    "sasl": {"line": "held", **_ENDINGS},
    "data": {"complete": "command", **_ENDINGS},
    "chunk": {"complete": "command", **_ENDINGS},
    "starttls": {"answered": "command", **_ENDINGS},
    "opaque": {"over": "drain", "lost": "opaque"},
    "drain": {"over": "drain", "lost": "drain"},
}


def render_diagram() -> str:
    """The table as a Mermaid state diagram, without the endings that every state has."""
    lines = ["stateDiagram-v2", "    [*] --> preface", "    [*] --> waiting"]
    for state, moves in TRANSITIONS.items():
        lines += [
            f"    {state} --> {target}: {trigger}"
            for trigger, target in moves.items()
            if trigger not in _ENDINGS or state == "opaque"
        ]
    return "\n".join([*lines, "    drain --> [*]"]) + "\n"
