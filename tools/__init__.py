"""Scripts for those who work on smtpproxy; nothing here is shipped in the wheel."""
