"""Flags, variables and smtpproxy.toml, in that order, into one checked value."""
