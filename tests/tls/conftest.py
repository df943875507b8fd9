"""One authority for all tests that only read it; a key and a signature for each would cost time."""

from pathlib import Path

import pytest

from smtpproxy.tls.authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(Path(tmp_path_factory.mktemp("ca")) / "certs")
