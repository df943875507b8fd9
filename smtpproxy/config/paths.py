"""Where recordings and certificates live unless told otherwise; it creates and reads nothing."""

from pathlib import Path

STORE_NAME = "smtpproxy.db"
CERTS_NAME = "certs"
CONFIG_NAME = "smtpproxy.toml"


def default_store() -> Path:
    """The event log in the user's data folder (Linux: ~/.local/share/smtpproxy/smtpproxy.db)."""
    import platformdirs  # where the user names a place it is not needed, and it costs a tenth of the start

    return platformdirs.user_data_path("smtpproxy", appauthor=False) / STORE_NAME


def default_certs() -> Path:
    """The authority's folder in the user's config folder (Linux: ~/.config/smtpproxy/certs)."""
    import platformdirs  # as above

    return platformdirs.user_config_path("smtpproxy", appauthor=False) / CERTS_NAME
