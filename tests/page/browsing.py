"""Playwright's and axe-core's names for the tests of the page; it opens no browser.

Without them the modules that import this are skipped; where all programs are required, they fail.
"""

import os

import pytest

try:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
    from playwright.sync_api import Browser, Dialog, Locator, Page, Route, expect, sync_playwright
except ImportError:
    reason = "the page's tests need: pip install playwright axe-playwright-python"
    if os.environ.get("SMTPPROXY_REQUIRE_PROGRAMS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)

__all__ = ["Axe", "Browser", "Dialog", "Locator", "Page", "Route", "expect", "sync_playwright"]
