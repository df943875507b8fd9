"""The event log and the feed that reads it, on SQLite."""
