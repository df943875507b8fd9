"""The certificates of both sides, made once: they are only read."""

import ssl

import pytest
import trustme

from tests.net.stage import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server_context(certificates: Certificates) -> ssl.SSLContext:
    """A server's: good for localhost and 127.0.0.1."""
    return context_for(certificates.provider.issue_cert("localhost", "127.0.0.1"))


@pytest.fixture(scope="session")
def app_context(certificates: Certificates) -> ssl.SSLContext:
    """An app's, that trusts smtpproxy's authority."""
    return ssl.create_default_context(cafile=str(certificates.authority.certificate_path))


def context_for(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    return context
