"""The embedded provider: accepts, keeps, never delivers, and fails on request; a policy, no I/O."""

from smtpproxy.sandbox.provider import Sandbox

__all__ = ["Sandbox"]
