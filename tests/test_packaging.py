"""What is shipped: contents of wheel and sdist, and what `make` says where something is missing."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import smtpproxy

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        metadata = next(name for name in names if name.endswith("dist-info/METADATA"))
        entry_points = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    ours = {str(file.relative_to(ROOT)) for file in ROOT.glob("smtpproxy/**/*.py")} | {"smtpproxy/py.typed"}
    ours |= {str(file.relative_to(ROOT)) for file in ROOT.glob("smtpproxy/web/static/**/*") if file.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert metadata.replace("METADATA", "licenses/LICENSE") in names
    assert "smtpproxy = smtpproxy.cli.main:main" in entry_points
    assert "[pytest11]\nsmtpproxy = smtpproxy.pytest_plugin" in entry_points
    assert f"-{smtpproxy.__version__}-py3-none-any" in path.name


def test_the_sdist_can_be_built_and_tested_and_holds_no_key(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {
        "pyproject.toml",
        "Makefile",
        "README.md",
        "LICENSE",
        "tests/conftest.py",
        "tools/make_venv",
    } <= names
    assert not [
        name for name in names if name.endswith((".key", ".db", ".keylog")) or name.startswith("var/")
    ]


def imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_dependencies_are_those_that_are_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=\[ ]", text)[0].replace("-", "_") for text in project["dependencies"]}
    imported = {
        name.partition(".")[0]
        for file in ROOT.glob("smtpproxy/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imported_by(node)
    }
    # pytest is there where its plugin is loaded: pytest is what loads it.
    assert imported - sys.stdlib_module_names - {"smtpproxy", "pytest"} == declared


def test_pytest_is_imported_by_its_plugin_alone() -> None:
    importing = [
        file.relative_to(ROOT)
        for file in ROOT.glob("smtpproxy/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if "pytest" in imported_by(node)
    ]
    assert {file.parent.name for file in importing} == {"pytest_plugin"}


def make_venv(python: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", ROOT / "tools" / "make_venv", python, folder], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_without_python_make_says_so(tmp_path: Path) -> None:
    code, said = make_venv("python9.9", tmp_path / "venv")
    assert (code, said.count("\n")) == (2, 1)
    assert "found no python9.9" in said


def test_with_an_old_python_make_says_so(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && { echo Python 3.9.2; exit 0; }\nexit 1\n')
    old.chmod(0o755)
    code, said = make_venv(str(old), tmp_path / "venv")
    assert (code, said.count("\n")) == (2, 1)
    assert "is Python 3.9.2" in said


def test_without_venv_make_says_what_to_install(tmp_path: Path) -> None:
    # Debian's python3 before python3-venv is installed.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    bare.chmod(0o755)
    code, said = make_venv(str(bare), tmp_path / "venv")
    assert (code, said.count("\n")) == (2, 1)
    assert "apt-get install python3-venv" in said
