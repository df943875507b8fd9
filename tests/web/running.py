"""A `smtpproxy run` with its web port, in a process of its own."""

from pathlib import Path

import httpx

from tests.cli.running import DEADLINE_S, Running
from tests.ends import Patience


class RunningWeb(Running):
    """The proxy with a page on a free port; `Running` starts it without."""

    def __init__(self, folder: Path, *flags: str) -> None:
        ends = ("--listen", "smtp://127.0.0.1:0", "--web", "127.0.0.1:0")
        super().__init__(folder, "--json", *flags, command=("run", *ends))
        self.first, self.port = self.ready()
        self.url: str = self.first["web"]

    def wait_for_page(self) -> None:
        """Return when the page is served; it is loaded after the first mail could come."""
        Patience("the page").until(self._is_page_up)

    def _is_page_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=DEADLINE_S).status_code == 200
        except httpx.TransportError:
            return False
