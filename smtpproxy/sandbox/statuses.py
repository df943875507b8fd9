"""Enhanced status codes: which one goes with a code, and what it says (RFC 3463); it knows no addresses."""

from typing import Final

DEFAULT_STATUS: Final[dict[int, str]] = {
    421: "3.2",
    432: "7.12",
    450: "2.1",
    451: "3.0",
    452: "3.1",
    454: "7.0",
    455: "5.4",
    500: "5.2",
    501: "5.4",
    502: "5.1",
    503: "5.1",
    504: "5.4",
    521: "3.2",
    523: "3.4",
    530: "7.0",
    534: "7.9",
    535: "7.8",
    538: "7.11",
    550: "7.1",
    551: "1.6",
    552: "3.4",
    553: "1.3",
    554: "7.1",
    555: "5.4",
    556: "1.10",
}
"""Subject and detail of the enhanced code where none was asked for; x.0.0 for every other code."""

STATUS_AT: Final[dict[tuple[str, int], str]] = {
    ("auth", 421): "7.0",
    ("mail", 450): "1.8",
    ("mail", 553): "1.7",
    ("rcpt", 550): "1.1",
    ("rcpt", 552): "2.2",
    ("data", 450): "7.1",
}
"""The same where it depends on the step."""

TEXTS: Final[dict[str, str]] = {
    "1.1": "there is no such mailbox",
    "1.2": "there is no such domain",
    "1.3": "the recipient's address is not valid",
    "1.6": "the mailbox has moved",
    "1.7": "the sender's address is not valid",
    "1.8": "the sender's domain is not known",
    "1.10": "the recipient's domain takes no mail",
    "2.0": "the mailbox cannot be used",
    "2.1": "the mailbox is not available",
    "2.2": "the mailbox is full",
    "2.3": "the message is too big for this mailbox",
    "3.0": "local error in processing",
    "3.1": "the mail system is full",
    "3.2": "the service is not available",
    "3.4": "the message is too big",
    "5.1": "this command is not possible now",
    "5.2": "syntax error",
    "5.3": "too many recipients",
    "5.4": "the arguments are not valid",
    "6.0": "the content is not acceptable",
    "7.0": "refused for security reasons",
    "7.1": "refused by policy",
    "7.8": "the credentials are not valid",
    "7.9": "the mechanism is too weak",
    "7.11": "this mechanism needs encryption",
    "7.12": "the password must be changed first",
    "7.20": "no valid DKIM signature",
    "7.23": "SPF does not allow this sender",
    "7.25": "the client's address has no valid reverse name",
    "7.26": "the message passed neither SPF nor DKIM",
    "7.28": "too much mail from this sender",
}
"""What a refusal says, by subject and detail (RFC 3463 3 and its registry)."""

_SUBJECTS: Final = ("other", "address", "mailbox", "mail system", "network", "protocol", "content", "policy")


def default_status(step: str, code: int) -> str:
    """The enhanced status code of a refusal at that step, where none was asked for."""
    return f"{code // 100}.{STATUS_AT.get((step, code)) or DEFAULT_STATUS.get(code, '0.0')}"


def text_of(status: str) -> str:
    """What a refusal with this enhanced status code says."""
    subject, detail = status.split(".")[1:]
    number = int(subject)
    kind = _SUBJECTS[number] if number < len(_SUBJECTS) else _SUBJECTS[0]
    return TEXTS.get(f"{subject}.{detail}", f"refused ({kind} problem)")
