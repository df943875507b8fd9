"""Filters in the API's parameters; it knows no session."""

import time
from typing import Annotated, Final, TypeAlias

from fastapi import Query

from smtpproxy.inspect.filters.parsing import parse_filter
from smtpproxy.inspect.filters.tree import Filter

MAX_FILTER_CHARACTERS: Final = 4000

FilterText: TypeAlias = Annotated[
    str,
    Query(max_length=MAX_FILTER_CHARACTERS, description="In the filter language, as docs/filters.md has it."),
]


def read_filter(text: str) -> Filter:
    """The filter of a parameter; an empty one lets everything pass.

    Raises:
        FilterError: says where the mistake is.
    """
    return parse_filter(text, now=time.time())
