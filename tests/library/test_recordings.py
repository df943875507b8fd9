"""The files of replay/ as they are committed: readable, valid, without secrets, and what their table says."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from smtpproxy.recording.files import SUFFIX, load_recording
from smtpproxy.session.events import Auth, Command, Content, octets_of
from tests.real.recorded import forms_of
from tools.library.record import check
from tools.library.scenario import FOLDER, Scenario
from tools.library.scenarios import SCENARIOS
from tools.library.table import PAGE, render_page

FILES = sorted(FOLDER.glob(f"*{SUFFIX}"))
SCHEMA = json.loads((FOLDER.parent / "docs" / "recording.schema.json").read_text())
MAX_FOLDER_BYTES = 500 * 1024


def test_every_scenario_has_its_file_and_every_file_its_scenario() -> None:
    assert {file.name for file in FILES} == {scenario.file.name for scenario in SCENARIOS.values()}


def test_the_table_is_what_the_files_say() -> None:
    page = PAGE.read_text()
    assert render_page(page) == page, "make library ARGS='--only' with any name renders it"
    assert set(re.findall(rf"\]\(([^)]+{re.escape(SUFFIX)})\)", page)) == {file.name for file in FILES}


def test_it_is_small_enough_to_be_cloned_by_everyone() -> None:
    assert sum(file.stat().st_size for file in FILES) < MAX_FOLDER_BYTES


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_it_shows_what_its_scenario_says(scenario: Scenario) -> None:
    check(scenario, scenario.file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(SUFFIX))
def test_every_line_is_valid(file: Path) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for recorded in load_recording(file):
        validator.validate(json.loads(recorded.line))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(SUFFIX))
def test_no_account_of_any_scenario_can_be_read_from_it(file: Path) -> None:
    recorded = file.read_bytes()
    accounts = [scenario.account for scenario in SCENARIOS.values() if scenario.account]
    forms = {form for account in accounts for secret in account.secrets for form in forms_of(secret)}
    assert [form for form in forms if form in recorded] == []
    # A digest or a proof would do for guessing: whatever was said in AUTH is a placeholder, or an empty line.
    for read in load_recording(file):
        match read.event:
            case Auth():
                assert octets_of(read.event).strip() in (b"", b"{{secret}}")
            case Command(verb="AUTH"):
                assert re.fullmatch(rb"AUTH [A-Z0-9-]+( \{\{secret\}\})?\r\n", octets_of(read.event))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(SUFFIX))
def test_nobody_real_is_named_in_it(file: Path) -> None:
    spoken = b"".join(
        octets_of(read.event) for read in load_recording(file) if isinstance(read.event, Command | Content)
    )
    domains = set(re.findall(rb"@([\w.-]+)", spoken))
    assert domains <= {b"example.test", b"elsewhere.example"}
    assert not re.search(r"/(tmp|home|root|work|var|usr)/", file.read_text())
