"""One TLS context per leaf, made when a client first asks for its name, and kept; no handshake here."""

import os
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable

from smtpproxy.errors import CertificateError
from smtpproxy.tls.authority import Authority, Leaf
from smtpproxy.tls.names import parse_name

MAX_LEAF_CONTEXTS = 128
RENEW_AFTER_S = 30 * 86400.0


class LeafContexts:
    """The contexts of one client leg by name, the least recently used one dropped first.

    A leaf is replaced long before it expires, so that a proxy may run for years.
    """

    def __init__(
        self,
        authority: Authority,
        names: tuple[str, ...],
        default: ssl.SSLContext,
        new_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._authority = authority
        self._names = names
        self._own = {str(name) for name in map(parse_name, names) if name is not None}
        self._new_context = new_context
        self._contexts: OrderedDict[str, tuple[ssl.SSLContext, float]] = OrderedDict()
        self._fill("", default)

    def pick(self, sni: str | None) -> ssl.SSLContext:
        """The context for the name a client asked for; the default one where it asked for none of use.

        Never raises: OpenSSL calls this, and has nobody to hand an error to.
        """
        name = "" if sni is None else str(parse_name(sni) or "")
        if name in self._own:
            name = ""
        entry = self._contexts.get(name)
        if entry is not None and time.time() < entry[1]:
            self._contexts.move_to_end(name)
            return entry[0]
        try:
            return self._fill(name, self._new_context())
        except (OSError, ssl.SSLError, CertificateError):
            # No descriptors left, a keylog on a full disk. A certificate that may not match beats none.
            return entry[0] if entry is not None else self._contexts[""][0]

    def _fill(self, name: str, context: ssl.SSLContext) -> ssl.SSLContext:
        leaf = self._authority.issue((name, *self._names) if name else self._names)
        _load_leaf(context, leaf)
        self._contexts[name] = (context, time.time() + RENEW_AFTER_S)
        self._contexts.move_to_end(name)
        if len(self._contexts) > MAX_LEAF_CONTEXTS:
            # The oldest but the default one, which everybody without a name of use falls back to.
            del self._contexts[next(key for key in self._contexts if key)]
        return context


def _load_leaf(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Hand a leaf to OpenSSL, which takes certificates from files only.

    On Linux the file is in memory: neither a full disk nor a crash can come between.
    """
    data = leaf.key_pem + leaf.certificate_pem
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("smtpproxy-leaf"), "wb") as file:
            file.write(data)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    else:
        with tempfile.NamedTemporaryFile("wb") as file:
            file.write(data)
            file.flush()
            context.load_cert_chain(file.name)
