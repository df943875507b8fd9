"""SMTP octets ⇄ values: lines, commands, replies, content, EHLO; no state of a session, no I/O."""
