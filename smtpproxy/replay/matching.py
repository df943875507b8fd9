"""When what an app says is what was recorded: a command's fields, one by one; it knows no cursor.

The default is what a second run of the same app keeps (what may change is what nobody meant): the
verb; not the argument of EHLO; of AUTH the mechanism; addresses as written, but for the case of the domain;
the parameters of MAIL and RCPT as a set, without SIZE; a message as MIME, without Date, Message-ID and
boundaries. The header's `match`, or the user, can ask for more or for less.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from smtpproxy.errors import ConfigError, ReplayError
from smtpproxy.recording.overrides import CommandRule, Match
from smtpproxy.replay.messages import Field, Said, bounded, difference_of
from smtpproxy.replay.patterns import matches
from smtpproxy.replay.script import Step, path_and_rest
from smtpproxy.session.decisions import CommandTurn
from smtpproxy.wire.commands import KNOWN_VERBS, argument_of

NOTHING: Final = "nothing"
_SECRET_ARGUMENTS: Final = frozenset({"AUTH", "X-EXPS", "BURL", "XCLIENT"})
Asked: TypeAlias = Match | Mapping[str, object] | None
"""What a user asks for: rules, or keys and values of which even a default one goes over the header's."""


def read_match(values: Mapping[str, object]) -> Match:
    """The rules that a user asks for: keys and values of the header's `match`.

    Raises:
        ConfigError: a key or a value is not known; says what would be.
    """
    try:
        match = msgspec.convert(values, Match)
    except msgspec.ValidationError as error:
        keys = ", ".join(Match.__struct_fields__)
        raise ConfigError(f"match: {error}; the keys are {keys}") from None
    for rule in match.steps:
        if not rule.n and not rule.verb:
            raise ConfigError("match: a rule in `steps` names neither `n` nor `verb`")
    return match


def parse_match(pairs: tuple[str, ...]) -> Mapping[str, object]:
    """What `KEY=VALUE` on the command line asks for; `ignore_headers` takes names between commas.

    Raises:
        ConfigError: as above.
    """
    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key == "steps":
            raise ConfigError(f"--match {pair!r}: write KEY=VALUE, such as --match content=ignore")
        is_list = key == "ignore_headers"
        values[key] = [name.strip() for name in value.split(",")] if is_list else value
    read_match(values)
    return values


def merged(header: Match | None, asked: Asked) -> Match:
    """The header's rules, and over them what the user asks for; of rules for steps the user's first."""
    if asked is None:
        return header or Match()
    # Encoded, a default value is left out: it is not what was asked for.
    values: dict[str, Any] = msgspec.to_builtins(asked) if isinstance(asked, Match) else dict(asked)
    written: dict[str, Any] = {} if header is None else msgspec.to_builtins(header)
    for name in ("steps", "ignore_headers"):
        if name in values and name in written:
            values[name] = [*values[name], *written[name]]
    return read_match(written | values)


class Matcher:
    """One script's rules."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self._by_n: dict[int, int] = {}
        self._by_verb: dict[str, int] = {}
        for at, rule in enumerate(match.steps):
            if rule.n:
                self._by_n.setdefault(rule.n, at)
            else:
                self._by_verb.setdefault(rule.verb.upper(), at)

    def command(self, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
        """In what a command differs from the recorded one; empty where it matches.

        Of BDAT the chunk is not looked at: chunks are cut anew whenever a message changes in length.
        """
        rule = self._rule(step)
        if rule is not None and rule.regex:
            return _against(rule.regex, _text_of(turn.raw))
        if step.kind != "command":
            return (("verb", step.said, shown_command(turn)),)
        if step.redacted and step.redacted[0].at == 0:
            # A line that was secret throughout, such as a password after a refused AUTH.
            return () if turn.verb not in KNOWN_VERBS else (("verb", step.said, turn.verb),)
        if step.verb != turn.verb:
            return (("verb", step.verb or "a blank line", shown_command(turn)),)
        if rule is not None and rule.ignore:
            return ()
        compare = _COMPARED.get(turn.verb, _argument)
        return compare(self._match, step, turn)

    def is_free(self, step: Step) -> bool:
        """Whether no rule of its own says how this step is matched."""
        return self._rule(step) is None

    def content(self, step: Step, recorded: Said, said: Said) -> tuple[Field, ...]:
        """In what a message differs from the recorded one; empty where it matches.

        Args:
            step: whose rule counts: the message, or the BDAT that ends it.
            recorded, said: the two.
        """
        rule = self._rule(step, ".")
        if (rule is not None and rule.ignore) or self._match.content == "ignore":
            return ()
        if said.is_cut:
            return (("size", f"{recorded.octets} octets", f"{said.octets} octets"),)
        if rule is not None and rule.regex and step.kind == "content":
            return _against(rule.regex, said.plain().decode("utf-8", "backslashreplace"))
        return difference_of(
            recorded, said, is_exact=self._match.content == "exact", ignored=self._match.ignore_headers
        )

    def _rule(self, step: Step, *verbs: str) -> CommandRule | None:
        """The first rule that fits the step by its number, or by its verb or one of these."""
        found = [self._by_verb[verb] for verb in (step.verb, *verbs) if verb in self._by_verb]
        found += [self._by_n[step.n]] if step.n in self._by_n else []
        return self._match.steps[min(found)] if found else None


def shown_command(turn: CommandTurn) -> str:
    """A command of the app in one line for people, without anything that may be a secret."""
    if not turn.verb:
        return "a blank line"
    if turn.verb not in KNOWN_VERBS:
        # A password typed in the wrong place looks like this.
        return f"a line of {len(turn.raw)} octets that is no command"
    if turn.verb in _SECRET_ARGUMENTS:
        words = turn.argument.split()
        mechanism = words[0].decode("ascii", "replace")[:32].upper() if words else ""
        is_login = turn.verb in ("AUTH", "X-EXPS") and mechanism
        return f"{turn.verb} {mechanism}" if is_login else turn.verb
    return bounded(_text_of(turn.raw))


# ---- the fields of each command


def _hello(match: Match, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
    return () if match.ehlo == "ignore" else _argument(match, step, turn)


def _mechanism(match: Match, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
    words = turn.argument.split()
    said = words[0].upper().decode("ascii", "replace")[:32] if words else ""
    return _field("mechanism", step.mechanism, said)


def _chunk(match: Match, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
    return _field("LAST", "LAST" if step.is_last else "", "LAST" if turn.is_last else "")


def _envelope(match: Match, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
    recorded, recorded_rest = path_and_rest(step.raw)
    said, said_rest = path_and_rest(turn.raw)
    fields: tuple[Field, ...] = ()
    if match.addresses == "exact" and _folded(recorded) != _folded(said):
        fields += (("address", f"<{bounded(recorded)}>", f"<{bounded(said)}>"),)
    elif match.addresses == "domain" and _domain(recorded) != _domain(said):
        fields += (("domain", bounded(_domain(recorded)) or NOTHING, bounded(_domain(said)) or NOTHING),)
    if match.parameters == "exact":
        fields += _field("parameters", recorded_rest.strip(), said_rest.strip())
    elif match.parameters == "set":
        before, now = _parameters(recorded_rest), _parameters(said_rest)
        for name in dict.fromkeys([*before, *now]):
            there, here = _spelt(name, before), _spelt(name, now)
            if there != here:
                fields += ((f"parameter {bounded(name)}", bounded(there), bounded(here)),)
    return fields


def _argument(match: Match, step: Step, turn: CommandTurn) -> tuple[Field, ...]:
    if step.redacted:
        # XCLIENT's login, BURL's token: what stands before the placeholder is all there is to compare.
        begin = step.raw[: step.redacted[0].at]
        return () if turn.raw.upper().startswith(begin.upper()) else (("argument", step.said, turn.verb),)
    return _field("argument", _text(argument_of(step.raw)), _text(turn.argument))


_COMPARED: Final[dict[str, Callable[[Match, Step, CommandTurn], tuple[Field, ...]]]] = {
    "EHLO": _hello,
    "HELO": _hello,
    "LHLO": _hello,
    "MAIL": _envelope,
    "RCPT": _envelope,
    "SEND": _envelope,
    "SOML": _envelope,
    "SAML": _envelope,
    "AUTH": _mechanism,
    "X-EXPS": _mechanism,
    "BDAT": _chunk,
}
"""What counts of each command; of all others the argument, as written."""


def _field(name: str, recorded: str, said: str) -> tuple[Field, ...]:
    return () if recorded == said else ((name, bounded(recorded) or NOTHING, bounded(said) or NOTHING),)


def _folded(address: str) -> str:
    """RFC 5321 2.4: the local part is the receiver's own, the domain is not case-sensitive."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower() if "@" in address else ""


def _parameters(rest: str) -> dict[str, str | None]:
    """Name → value (None where there is none), without SIZE: it follows from the content."""
    found: dict[str, str | None] = {}
    for word in rest.split():
        name, equals, value = word.partition("=")
        if name.upper() != "SIZE":
            # RFC 6152 2 and RFC 3461 4: these values are words, in any case.
            is_word = name.upper() in ("BODY", "RET", "NOTIFY")
            found[name.upper()] = (value.upper() if is_word else value) if equals else None
    return found


def _spelt(name: str, parameters: Mapping[str, str | None]) -> str:
    if name not in parameters:
        return NOTHING
    value = parameters[name]
    return name if value is None else f"{name}={value}"


# ---- text


def _text_of(line: bytes) -> str:
    return _text(line.rstrip(b"\r\n"))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _against(pattern: str, text: str) -> tuple[Field, ...]:
    try:
        if matches(pattern, text):
            return ()
    except ReplayError as error:
        return (("pattern", bounded(pattern), bounded(str(error))),)
    return (("pattern", bounded(pattern), bounded(text)),)
