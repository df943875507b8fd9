"""Messages as they stood on the wire, and as they were meant."""

from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.messages import list_messages, message_octets
from smtpproxy.wire.content import Unstuffer
from tests.conversation import Conversation, delivery


def eml(talk: Conversation, message: int = 1) -> bytes:
    return b"".join(message_octets(talk.events, message))


def test_dot_stuffing_is_undone_and_the_terminator_left_out() -> None:
    assert eml(delivery()) == (
        b"Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n.dotted\r\n"
    )


def test_an_empty_message_is_empty() -> None:
    assert eml(Conversation().client("DATA").content()) == b""


def test_chunks_are_joined_as_they_are() -> None:
    talk = Conversation().chunk(b"A: 1\r\n\r\n..x\r\n").chunk(b"\x00\xff").chunk(b".\r\n", last=True)
    assert eml(talk) == b"A: 1\r\n\r\n..x\r\n\x00\xff.\r\n"


def test_each_message_of_a_session_by_its_number() -> None:
    talk = Conversation().client("DATA").content("one\r\n").client("DATA").content("two\r\n")
    talk.chunk(b"three\r\n", last=True)
    assert [eml(talk, number) for number in (1, 2, 3)] == [b"one\r\n", b"two\r\n", b"three\r\n"]


def test_a_lone_lf_does_not_end_a_line() -> None:
    assert eml(Conversation().client("DATA").content("a\n..b\r\n..c\r\n")) == b"a\n..b\r\n.c\r\n"


@given(
    lines=st.lists(st.sampled_from([b"", b".", b"..", b"a.", b"\r", b"\n.", b".\n", b"x" * 9])),
    data=st.data(),
)
def test_stuff_then_unstuff_is_the_message_wherever_it_is_cut(
    lines: list[bytes], data: st.DataObject
) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    # RFC 5321 4.5.2, the client's side of it: one dot more where a line begins with one.
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stuffed)), max_size=6)))
    unstuffer = Unstuffer()
    pieces = [stuffed[start:end] for start, end in zip([0, *cuts], [*cuts, len(stuffed)], strict=True)]
    assert b"".join(unstuffer.feed(piece) for piece in pieces) == message


def test_listed_with_what_can_be_had_again() -> None:
    [whole] = list_messages(delivery().events)
    assert (whole.row.mail_from, whole.is_complete, whole.is_kept) == ("alice@example.com", True, True)
    [digest] = list_messages(Conversation().client("DATA").digested(9).events)
    assert (digest.is_complete, digest.is_kept) == (False, False)
    [holed] = list_messages(Conversation().client("DATA").content("a\r\n", end="").gap().events)
    assert holed.is_complete is False


def test_a_gap_inside_a_message_means_it_is_not_kept() -> None:
    talk = Conversation().client("DATA").content("a\r\n", end="").gap()
    talk._message = 0
    talk.content("b\r\n").end()
    [message] = list_messages(talk.events)
    assert (message.is_complete, message.is_kept) == (True, False)
