"""The mail of one session: MAIL, RCPT, DATA and BDAT, and the replies owed at the end; it knows no login.

A message's octets never come here: the core counts and records them.
"""

import re
from typing import Final

from smtpproxy.sandbox.failures import Malformed, parse_failure
from smtpproxy.sandbox.greylist import GreylistMemory
from smtpproxy.sandbox.offer import Offer
from smtpproxy.sandbox.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS, parse_parameters
from smtpproxy.sandbox.paths import Path, parse_path
from smtpproxy.sandbox.replies import Refusal, render_reply, shown
from smtpproxy.sandbox.transaction import MAX_RECIPIENTS, Party, Transaction
from smtpproxy.sandbox.verdicts import decide, judge
from smtpproxy.session.decisions import Answer, Decision
from smtpproxy.wire.commands import parse_bdat

_UNSAFE = re.compile(r"[^A-Za-z0-9-]")
_MAX_NONCE: Final = 64


class Mail:
    """One transaction after the other.

    Args:
        offer: what holds for the whole session.
        nonce: what queue ids begin with.
        greylist: shared by all sessions.
    """

    __slots__ = ("_greylist", "_is_content_due", "_messages", "_offer", "_queue", "_transaction")

    def __init__(self, *, offer: Offer, nonce: str, greylist: GreylistMemory) -> None:
        self._offer = offer
        self._queue = _UNSAFE.sub("", nonce)[:_MAX_NONCE]
        self._greylist = greylist
        self._messages = 0
        self._transaction: Transaction | None = None
        self._is_content_due = False

    @property
    def is_in_transaction(self) -> bool:
        """Whether a MAIL was accepted, and its message is not through."""
        return self._transaction is not None

    def reset(self) -> None:
        """Forget the transaction, as RSET and EHLO do (RFC 5321 4.1.1.5)."""
        self._transaction = None
        self._is_content_due = False

    # -- the envelope; every method raises Refusal where its command is refused

    def on_mail(self, argument: bytes, *, user: Party | None) -> Decision:
        """MAIL; a user who has logged in may have asked for a failure too."""
        if self._transaction is not None:
            raise Refusal(503, "5.5.1", "Nested MAIL command")
        path, rest = parse_path(argument, keyword="FROM", status="5.1.7")
        parameters = parse_parameters(rest, MAIL_PARAMETERS)
        if self._is_too_big(int(parameters.get("SIZE", "0"))):
            # RFC 1870 6.1
            raise Refusal(552, "5.3.4", f"The limit is {self._offer.size_limit} octets")
        is_utf8 = "SMTPUTF8" in parameters
        transaction = Transaction(
            sender=_party(path, is_utf8=is_utf8, status="5.1.7"),
            user=user,
            is_binary=parameters.get("BODY", "").upper() == "BINARYMIME",
            is_utf8=is_utf8,
        )
        verdict = judge(transaction.due_at_mail())
        if verdict.blow is None:
            self._transaction = transaction
        return decide([verdict], render_reply(250, "2.1.0", "Ok"))

    def on_rcpt(self, argument: bytes) -> Decision:
        """RCPT."""
        transaction = self._need_transaction()
        if transaction.has_chunks:
            # RFC 3030 2: the recipients come before the first BDAT.
            raise Refusal(503, "5.5.1", "RCPT after BDAT")
        path, rest = parse_path(argument, keyword="TO", status="5.1.3")
        parse_parameters(rest, RCPT_PARAMETERS)
        if not path.address:
            raise Refusal(501, "5.1.3", "A recipient cannot be empty")
        recipient = _party(path, is_utf8=transaction.is_utf8, status="5.1.3")
        if len(transaction.recipients) >= MAX_RECIPIENTS:
            raise Refusal(452, "4.5.3", "Too many recipients")
        verdict = judge(
            transaction.due_at_rcpt(recipient),
            is_first_time=lambda: self._greylist.defers(transaction.sender.address, path.address),
        )
        if verdict.blow is None:
            transaction.recipients.append(recipient)
        return decide([verdict], render_reply(250, "2.1.5", "Ok"))

    # -- the message

    def on_data(self) -> Decision:
        """DATA."""
        transaction = self._need_transaction()
        self._need_recipients(transaction)
        if transaction.has_chunks:
            # RFC 3030 2: DATA and BDAT cannot be mixed in one transaction.
            raise Refusal(503, "5.5.1", "DATA after BDAT")
        if transaction.is_binary:
            # RFC 3030 3: BODY=BINARYMIME can be sent by BDAT only.
            raise Refusal(503, "5.5.1", "BODY=BINARYMIME needs BDAT")
        verdict = judge(transaction.due_for_message("datacmd"))
        self._is_content_due = verdict.blow is None
        return decide([verdict], render_reply(354, "", "End data with <CR><LF>.<CR><LF>"))

    def on_content(self, octets: int) -> Decision:
        """The message after DATA is complete."""
        transaction = self._transaction
        if transaction is None or not self._is_content_due:
            raise Refusal(503, "5.5.1", "No message was expected")
        return self._end_message(transaction, octets)

    def on_bdat(self, argument: bytes) -> Decision:
        """BDAT, its chunk having been read; a chunk that is refused was thrown away (RFC 3030 2)."""
        chunk = parse_bdat(argument)
        if chunk is None:
            # Nobody knows where the chunk ends; Postfix hangs up too.
            return Answer((render_reply(521, "5.5.4", "Syntax: BDAT octets [LAST]"),), close=True)
        octets, is_last = chunk
        transaction = self._need_transaction()
        try:
            self._take_chunk(transaction, octets)
        except Refusal as refusal:
            transaction.has_failed_chunk = True
            if is_last:
                self.reset()
            return Answer((refusal.reply,) * self._replies(transaction, is_last=is_last))
        if not transaction.has_chunks:
            transaction.has_chunks = True
            verdict = judge(transaction.due_for_message("datacmd"))
            if verdict.blow is not None:
                transaction.has_failed_chunk = True
                if is_last:
                    self.reset()
                return decide([verdict] * self._replies(transaction, is_last=is_last), b"")
        if is_last:
            return self._end_message(transaction, transaction.octets)
        return Answer((render_reply(250, "2.0.0", f"Ok, {octets} octets"),))

    def _take_chunk(self, transaction: Transaction, octets: int) -> None:
        if transaction.has_failed_chunk:
            raise Refusal(503, "5.5.1", "A BDAT before this one has failed")
        self._need_recipients(transaction)
        transaction.octets += octets
        if self._is_too_big(transaction.octets):
            raise Refusal(552, "5.3.4", "The message is too big")

    def _end_message(self, transaction: Transaction, octets: int) -> Decision:
        self.reset()
        if self._is_too_big(octets):
            reply = render_reply(552, "5.3.4", "The message is too big")
            return Answer((reply,) * self._replies(transaction, is_last=True))
        self._messages += 1
        if self._offer.is_lmtp:
            verdicts = [judge(transaction.due_for("data", party)) for party in transaction.recipients]
        else:
            verdicts = [judge(transaction.due_for_message("data"))]
        kept = f"Ok, {octets} octets kept as {self._queue}-{self._messages}, not delivered"
        return decide(verdicts, render_reply(250, "2.0.0", kept))

    def _replies(self, transaction: Transaction, *, is_last: bool) -> int:
        """How many replies are owed: with LMTP one for each recipient at the end (RFC 2033 4.2, 4.3)."""
        return max(1, len(transaction.recipients)) if self._offer.is_lmtp and is_last else 1

    # -- what must be so

    def _need_transaction(self) -> Transaction:
        if self._transaction is None:
            raise Refusal(503, "5.5.1", "Need MAIL command")
        return self._transaction

    def _need_recipients(self, transaction: Transaction) -> None:
        if not transaction.recipients:
            # RFC 2033 4.2 wants 503 of LMTP; RFC 5321 3.3 allows both, and 554 is Postfix's.
            raise Refusal(503 if self._offer.is_lmtp else 554, "5.5.1", "No valid recipients")

    def _is_too_big(self, octets: int) -> bool:
        return 0 < self._offer.size_limit < octets


def _party(path: Path, *, is_utf8: bool, status: str) -> Party:
    """Who the path names, and the failure it asks for."""
    if not path.is_ascii and not is_utf8:
        # RFC 6531 3.5
        raise Refusal(553, "5.6.7", "Such an address needs SMTPUTF8 with MAIL")
    failure = parse_failure(path.local)
    if isinstance(failure, Malformed):
        raise Refusal(501, status, f"<{shown(path.address)}> asks for no failure there is: {failure.problem}")
    return Party(address=path.address, failure=failure)
