"""Results as JUnit's XML, as continuous integration reads it; it writes no file.

A file of recordings is a test suite, a session in it a test case. The format has no standard; this is what
Jenkins' and GitLab's readers take: failure for what differs, error for what could not be run.
"""

from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape as quote
from xml.sax.saxutils import quoteattr

from smtpproxy.replay.report import render_result
from smtpproxy.replay.results import SessionResult
from smtpproxy.wire.escape import escape

MAX_CASE_LINES: Final = 500
"""Of the report inside one test case."""
MAX_MESSAGE_CHARACTERS: Final = 300


def render_junit(results: Iterable[SessionResult], *, name: str = "smtpproxy replay") -> bytes:
    """The whole document, UTF-8.

    Args:
        results: in any order; those of one file stand together in the document.
        name: of the run.
    """
    return "".join(_document(results, name)).encode("utf-8", "backslashreplace")


def _document(results: Iterable[SessionResult], name: str) -> Iterator[str]:
    suites: dict[str, list[SessionResult]] = {}
    for result in results:
        suites.setdefault(result.source or "no recording", []).append(result)
    every = [result for suite in suites.values() for result in suite]
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites {_attributes(name, every)}>\n"
    for source, suite in suites.items():
        yield f"  <testsuite {_attributes(source, suite)}>\n"
        for result in suite:
            yield from _case(result, source)
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _attributes(name: str, results: list[SessionResult]) -> str:
    failures = sum(result.status == "differs" for result in results)
    errors = sum(result.status == "error" for result in results)
    seconds = sum(result.duration_s for result in results)
    counts = f'tests="{len(results)}" failures="{failures}" errors="{errors}"'
    return f'name={_value(name)} {counts} time="{seconds:.3f}"'


def _case(result: SessionResult, source: str) -> Iterator[str]:
    label = f"session {result.session}" if result.session else "a session that was not recorded"
    label += f" line {result.line}" if result.line else ""
    label += f" attempt {result.attempt}" if result.attempt > 1 else ""
    head = f'    <testcase classname={_value(source)} name={_value(label)} time="{result.duration_s:.3f}"'
    if result.status == "same" and not result.notes and not any(step.notes for step in result.steps):
        yield f"{head}/>\n"
        return
    yield f"{head}>\n"
    lines = [line.text for line in render_result(result)]
    text = quote("\n".join(lines[:MAX_CASE_LINES]))
    if result.status == "same":
        yield f"      <system-out>{text}</system-out>\n"
    else:
        tag = "failure" if result.status == "differs" else "error"
        first = result.differences[0] if result.differences else None
        message = result.error or (f"step {first.step}: {first.text}" if first else "")
        kind = first.what if first and not result.error else "not-run"
        yield f"      <{tag} message={_value(message)} type={_value(kind)}>{text}</{tag}>\n"
    yield "    </testcase>\n"


def _value(text: str) -> str:
    """An attribute: what XML 1.0 2.2 has no character for is spelled out, as on a terminal."""
    return quoteattr(escape(text[:MAX_MESSAGE_CHARACTERS]))
