"""The event log and its feed: SQLite now, behind an interface that another database can serve later."""
