"""Where recordings and certificates live unless told otherwise; it creates and reads nothing."""

from pathlib import Path

import platformdirs

STORE_NAME = "smtpproxy.db"
CERTS_NAME = "certs"
CONFIG_NAME = "smtpproxy.toml"


def default_store() -> Path:
    """The event log in the user's data folder (Linux: ~/.local/share/smtpproxy/smtpproxy.db)."""
    return platformdirs.user_data_path("smtpproxy", appauthor=False) / STORE_NAME


def default_certs() -> Path:
    """The authority's folder in the user's config folder (Linux: ~/.config/smtpproxy/certs)."""
    return platformdirs.user_config_path("smtpproxy", appauthor=False) / CERTS_NAME
