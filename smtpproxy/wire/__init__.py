"""SMTP octets ⇄ values: lines, commands, replies, content, EHLO, and text for eyes; no state, no I/O."""
