"""Certificates and TLS contexts for both legs, and what a handshake came to; no event loop, no socket."""
