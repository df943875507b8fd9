"""The shapes that the API answers with; the OpenAPI document is made from them. They do nothing."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Outcome = Literal["open", "delivered", "partial", "rejected", "empty", "aborted", "failed", "interrupted"]
MessageOutcome = Literal["pending", "delivered", "partial", "rejected", "aborted"]


class ErrorBody(BaseModel):
    """What went wrong: a stable code for programs, a sentence for people."""

    code: str
    text: str
    column: int | None = Field(default=None, description="Where in the filter, from 1.")


class Problem(BaseModel):
    """Every error."""

    error: ErrorBody


class Session(BaseModel):
    """One connection of a client, from accept to close."""

    model_config = ConfigDict(from_attributes=True)

    session: str
    started: str
    duration: float = Field(description="Seconds up to the last event.")
    client: str
    upstream: str
    outcome: Outcome
    mail_from: str | None = Field(description="Of the first MAIL; empty for the null path.")
    rcpt_to: list[str]
    last_code: int | None = Field(description="Of the last reply to the client but the one to QUIT.")
    messages: int
    bytes: int = Field(description="Octets of all content, as it stood on the wire.")
    tls_client: str = Field(description="The TLS version of that leg; empty where it is plain.")
    tls_server: str
    findings: list[str]
    route: str
    listen: str


class SessionDetail(Session):
    """One session, and where it stands in the log."""

    first_seq: int
    last_seq: int


class Sessions(BaseModel):
    """A page of sessions, newest first."""

    sessions: list[Session]
    cursor: str | None = Field(description="Gives the next page; null at the end. A page may be short.")


class Deleted(BaseModel):
    """How many sessions are gone."""

    deleted: int


class Event(BaseModel):
    """One recorded event; what it has besides these is told by its kind, as docs/recording-format.md says."""

    model_config = ConfigDict(extra="allow")

    seq: int
    kind: str
    n: int
    session: str
    t: float


class Events(BaseModel):
    """A page of one session's events, in order."""

    events: list[Event]
    next: int | None = Field(description="`after_n` of the next page; null at the end.")


class Message(BaseModel):
    """One message, as a list shows it."""

    session: str
    message: int = Field(description="Counts the session's messages from 1.")
    mail_from: str
    rcpt_to: list[str] = Field(description="Recipients that were not refused.")
    size: int = Field(description="Octets of content, as it stood on the wire.")
    outcome: MessageOutcome = Field(description="By the replies to it; pending while there is none.")
    subject: str
    from_: str = Field(alias="from")
    to: str
    date: str
    has_html: bool
    attachments: int = Field(description="In the first 256 KiB where this is one of a list.")
    is_complete: bool = Field(description="The client finished it.")
    is_kept: bool = Field(description="All of it is recorded.")


class Messages(BaseModel):
    """The messages of a session, in order."""

    messages: list[Message]


class MessagePage(BaseModel):
    """A page of messages across sessions, newest first."""

    messages: list[Message]
    cursor: str | None = Field(description="Gives the next page; null at the end. A page may be short.")


class Part(BaseModel):
    """One part of a message's MIME tree (RFC 2045)."""

    path: str = Field(description="Such as 1.2; empty for the message itself.")
    content_type: str
    charset: str
    disposition: str
    filename: str
    size: int = Field(description="Octets, decoded; 0 for what only holds other parts.")
    content_id: str
    parts: list["Part"]


class Envelope(BaseModel):
    """Who it was really from and to, and where the headers say otherwise."""

    mail_from: str
    rcpt_to: list[str]
    mismatches: list[str]


class MessageDetail(Message):
    """One message, taken apart."""

    headers: list[tuple[str, str]] = Field(description="In order, unfolded and decoded.")
    parts: list[Part]
    text: str | None = Field(description="The plain text, up to 256 KiB.")
    html: bool = Field(description="Whether there is HTML to be had at /html.")
    envelope: Envelope
    defects: list[str]


class RouteState(BaseModel):
    """One listener and where it leads."""

    name: str
    listen: str
    upstream: str


class RecordingState(BaseModel):
    """How recording is doing."""

    state: Literal["ok", "degraded", "failed"]
    error: str
    pending_events: int
    lag_s: float
    lost_events: int
    gaps: int


class State(BaseModel):
    """The running proxy."""

    version: str
    log: str = Field(description="Tells this log from every other; positions mean something only within it.")
    oldest: int
    newest: int
    routes: list[RouteState]
    store: str | None
    recording: RecordingState
    sessions_open: int
    subscribers: int
    ca: str


class Health(BaseModel):
    """Fine, or why not."""

    status: Literal["ok", "unavailable"]
    reason: str
