"""Rerunning recordings: as the client against a server (replay), as the provider to an app (mock); no I/O."""
