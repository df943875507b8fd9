"""Rows of text in columns, for people; it knows nothing of what stands in them."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

GAP: Final = "  "


def render_table(
    rows: Sequence[Sequence[str]], *, width: int | None = None, shrink: Sequence[int] = ()
) -> Iterator[str]:
    """Lines with their columns under each other, measured in terminal cells.

    Args:
        rows: the first is the heading; all have the same number of cells, each safe for a terminal.
        width: the terminal's; None lets lines be as long as they are.
        shrink: the columns that give way first where the width is not enough, each down to 8 cells.
    """
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    if width is not None:
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
        for column in shrink:
            taken = max(0, min(excess, widths[column] - 8))
            widths[column] -= taken
            excess -= taken
    for row in rows:
        line = GAP.join(_fit(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip()
        yield line if width is None else _fit(line, width).rstrip()


def _fit(cell: str, size: int) -> str:
    if cell_len(cell) > size:
        return set_cell_size(cell, size - 1) + "…"
    return set_cell_size(cell, size)
