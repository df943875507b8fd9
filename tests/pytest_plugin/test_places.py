"""Where a test's cassette lies: a name that says which test it is, and is nobody else's."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpproxy.pytest_plugin.places import cassette_path, command_for

FOLDER = Path("replay")


@pytest.fixture
def collect(suite: pytest.Pytester, request: pytest.FixtureRequest) -> "Collect":
    return Collect(suite)


class Collect:
    """Collects the tests of a file."""

    def __init__(self, suite: pytest.Pytester) -> None:
        self.suite = suite

    def __call__(self, source: str, path: str = "test_mail.py") -> list[pytest.Item]:
        file = self.suite.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
        items, _ = self.suite.inline_genitems(file)
        return items


def parametrized(*ids: str) -> str:
    return f"import pytest\n@pytest.mark.parametrize('x', {list(ids)!r})\ndef test_it(x): pass\n"


def test_it_is_made_of_the_tests_name(collect: Collect) -> None:
    source = "import pytest\nclass TestReset:\n    @pytest.mark.parametrize('user', ['alice'])\n"
    (item,) = collect(f"{source}    def test_reset(self, user): pass\n", "tests/deep/test_mail.py")
    assert cassette_path(item, FOLDER) == Path(
        "replay/tests/deep/test_mail/TestReset.test_reset-alice.smtp.jsonl"
    )
    assert command_for(item, "rewrite") == (
        'pytest "tests/deep/test_mail.py::TestReset::test_reset[alice]" --smtp-record-mode rewrite'
    )


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("alice-1.0_x=y", "test_it-alice-1.0_x=y"),
        ("Alice", "test_it-Alice~????????"),
        ("a b", "test_it-a-b~????????"),
        ("../../etc/passwd", "test_it-..-..-etc-passwd~????????"),
        ("a::b[c]", "test_it-a-b-c-~????????"),
        ("é", "test_it--xe9~????????"),
    ],
)
def test_parameters_are_made_safe(collect: Collect, parameter: str, name: str) -> None:
    (item,) = collect(parametrized(parameter))
    path = cassette_path(item, FOLDER)
    assert path.parent == Path("replay/test_mail")
    assert path.match(f"{name}.smtp.jsonl")
    assert len(path.name.encode()) <= 255


def test_a_long_name_is_cut(collect: Collect) -> None:
    # pytest shortens what is longer in one parameter.
    longest = "x" * 99
    one, other = collect(
        "import pytest\n@pytest.mark.parametrize('a', ['a', 'b'])\n"
        f"@pytest.mark.parametrize('x', [{longest!r}])\n@pytest.mark.parametrize('y', [{longest!r}])\n"
        "def test_it(a, x, y): pass\n"
    )
    assert cassette_path(one, FOLDER).match(f"test_it-{longest}-{'x' * 42}~????????.smtp.jsonl")
    assert cassette_path(one, FOLDER) != cassette_path(other, FOLDER)


def test_a_test_from_elsewhere(collect: Collect, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "test_mail.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text("def test_it(): pass\n")
    items, _ = collect.suite.inline_genitems(elsewhere, "--rootdir", collect.suite.path)
    assert cassette_path(items[0], FOLDER) == Path("replay/elsewhere/test_mail/test_it.smtp.jsonl")


def test_a_command_is_quoted_for_the_shell(collect: Collect) -> None:
    (item,) = collect(parametrized("$(reboot)"))
    assert command_for(item, "once") == "pytest 'test_mail.py::test_it[$(reboot)]' --smtp-record-mode once"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    ids=st.lists(
        st.one_of(
            st.text(alphabet="aAbB-_.~/ é", max_size=6),
            st.text(max_size=8),
        ),
        min_size=2,
        max_size=12,
        unique=True,
    )
)
def test_different_tests_have_different_files_whatever_the_file_system(
    collect: Collect, ids: list[str]
) -> None:
    items = collect(parametrized(*ids))
    paths = [str(cassette_path(item, FOLDER)).casefold() for item in items]
    assert len(items) == len(ids)
    assert len(set(paths)) == len(paths)
