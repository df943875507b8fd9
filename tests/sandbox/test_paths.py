"""Addresses as RFC 5321 4.1.2 and RFC 6531 3.3 write them."""

import pytest

from smtpproxy.sandbox.paths import Path, parse_path
from smtpproxy.sandbox.replies import Refusal


def read(text: str | bytes) -> tuple[Path, bytes]:
    octets = text.encode() if isinstance(text, str) else text
    return parse_path(octets, keyword="TO", status="5.1.3")


@pytest.mark.parametrize(
    ("text", "address", "local", "rest"),
    [
        ("TO:<b@y.example>", "b@y.example", "b", b""),
        ("to:  <b@y.example> NOTIFY=NEVER", "b@y.example", "b", b" NOTIFY=NEVER"),
        ("TO:b@y.example SIZE=5", "b@y.example", "b", b" SIZE=5"),
        ("TO:<>", "", "", b""),
        ("TO:<postmaster>", "postmaster", "postmaster", b""),
        ("TO:<@hub.example,@b.example:b@y.example>", "b@y.example", "b", b""),
        ('TO:<"a b"@y.example>', '"a b"@y.example', "a b", b""),
        ('TO:<"a@b>\\"c"@y.example> X', '"a@b>\\"c"@y.example', 'a@b>"c', b" X"),
        ("TO:<b+c.d_e=f@y.example>", "b+c.d_e=f@y.example", "b+c.d_e=f", b""),
        ("TO:<b@[192.0.2.1]>", "b@[192.0.2.1]", "b", b""),
        ("TO:<b@[IPv6:2001:db8::1]>", "b@[IPv6:2001:db8::1]", "b", b""),
        ("TO:<b@[x-net:abc]>", "b@[x-net:abc]", "b", b""),
        ("TO:<b@localhost>", "b@localhost", "b", b""),
        ("TO:<b@my_host.example>", "b@my_host.example", "b", b""),
        ("TO:<jörg@例え.example>", "jörg@例え.example", "jörg", b""),
    ],
)
def test_good_paths(text: str, address: str, local: str, rest: bytes) -> None:
    path, behind = read(text)
    assert (path.address, path.local, behind) == (address, local, rest)
    assert path.is_ascii == address.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "TO:",
        "TO:<",
        "TO:<b@y.example",
        "TO:b@y.example>",
        "TO:<b@y.example>x",
        "TO:<<b@y.example>>",
        "TO:<b>",
        "TO:<@y.example>",
        "TO:<b@>",
        "TO:<b.@y.example>",
        "TO:<.b@y.example>",
        "TO:<b..c@y.example>",
        "TO:<b c@y.example>",
        "TO:<b@c@y.example>",
        'TO:<"b@y.example>',
        'TO:<"b"c@y.example>',
        "TO:<b@-y.example>",
        "TO:<b@y-.example>",
        "TO:<b@y..example>",
        "TO:<b@.example>",
        "TO:<b@y.example.>",
        f"TO:<b@{'y' * 64}.example>",
        f"TO:<b@{'y.' * 128}example>",
        "TO:<b@[192.0.2.256]>",
        "TO:<b@[192.0.2.1>",
        "TO:<b@[IPv6:192.0.2.1]>",
        "TO:<b@[IPv6:fe80::1%eth0]>",
        "TO:<b@[::1]>",
        "TO:<@hub.example:>",
        "TO:<b\0@y.example>",
        "TO:<b\u202ec@y.example>",
        b"TO:<b\xff@y.example>",
        f"TO:<{'b' * 1024}@y.example>",
    ],
)
def test_bad_paths(text: str | bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read(text)
    assert refused.value.reply.startswith(b"501 5.1.3 ")


@pytest.mark.parametrize("text", ["", "TO", "TO <b@y.example>", "FROM:<b@y.example>", "<b@y.example>"])
def test_the_word_and_its_colon_are_wanted(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(text)
    assert refused.value.reply == b"501 5.5.4 Syntax: RCPT TO:<address>\r\n"
