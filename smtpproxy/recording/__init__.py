"""The recording: redaction, the one JSON line an event is, and the file format; no I/O but in files."""
