"""smtpproxy: the SMTP traffic recording proxy."""

__version__ = "0.1.0"
