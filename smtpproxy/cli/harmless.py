"""JSON lines for a terminal: the same JSON, in characters that cannot control it; it prints nothing."""


def harmless_json(line: str) -> str:
    """A line of JSON with all that is not printable as escapes; what was recorded is anybody's."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else _escape(c) for c in line)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
