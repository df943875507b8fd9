"""The command line: one module per command; people and scripts come in here."""
