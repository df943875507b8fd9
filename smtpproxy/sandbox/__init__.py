"""The embedded provider: accepts, keeps, never delivers, and fails on request; a policy of the core, no I/O."""
