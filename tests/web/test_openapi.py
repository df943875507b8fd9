"""The OpenAPI document is true: what it promises is what schemathesis finds when it tries everything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import keep
from tests.cli.running import clean_environment
from tests.conversation import Conversation, delivery
from tests.web.running import RunningWeb
from tests.web.stage import web_port


async def test_the_document_names_every_resource(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        document = (await stage.get("/api/v1/openapi.json")).json()
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    message = "/api/v1/sessions/{id}/messages/{number}"
    assert operations == {
        "GET /api/v1/sessions",
        "DELETE /api/v1/sessions",
        "GET /api/v1/sessions/{id}",
        "DELETE /api/v1/sessions/{id}",
        "GET /api/v1/sessions/{id}/events",
        "GET /api/v1/sessions/{id}/transcript",
        "GET /api/v1/sessions/{id}/recording",
        "GET /api/v1/sessions/{id}/messages",
        "GET /api/v1/messages",
        f"GET {message}",
        f"GET {message}/raw",
        f"GET {message}/source",
        f"GET {message}/html",
        f"GET {message}/parts/{{path}}",
        "GET /api/v1/state",
        "GET /api/v1/ca.pem",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    odd = Conversation("01B").client("MAIL FROM:<a@x>").server("250 ok").client("DATA").server("354 go")
    odd.content(b"Subject: =?utf-8?q?=00?=\r\n\r\n\xff\r\n").finding("bare-lf").end("aborted")
    # Some of them are deleted on the way.
    keep(tmp_path / "mail.db", odd, *[delivery(f"01C{number:02}") for number in range(30)])
    with RunningWeb(tmp_path, "--store", "mail.db", "--certs", "certs") as proxy:
        proxy.wait_for_page()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{proxy.url}/api/v1/openapi.json"),
                *("--header", f"Origin: {proxy.url}", "--max-examples", "20", "--seed", "1"),
                # A filter or a name that fits the schema may still be wrong, which is told by a 4xx.
                *("--exclude-checks", "positive_data_acceptance"),
                *("--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**clean_environment(tmp_path, {}), "PYTHONWARNINGS": "ignore"},
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert proxy.stop()[0] == 0
        assert proxy.errors() == ""
