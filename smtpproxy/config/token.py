"""A secret of the configuration; it knows not what it is for."""


class Token(str):
    """A secret text that does not show itself when a configuration is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Token(…)" if self else "Token('')"
