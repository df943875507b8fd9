"""Our authority, its leaves, the contexts of each leg, and what to tell people about TLS; no event loop."""
