"""What OpenSSL's reasons and verify codes mean: the alert's name, who sent it, and the cause; tables only.

Names of alerts are those of the TLS registry (RFC 8446 6.2), such as unknown_ca.
"""

import re
from typing import Final

from smtpproxy.tls.advice import Cause

# The peer's alert, as OpenSSL's reason: TLSV1_ALERT_UNKNOWN_CA, TLSV13_ALERT_CERTIFICATE_REQUIRED,
# TLSV1_UNRECOGNIZED_NAME; where Python has no name for it, the same in words: "tlsv1 alert unknown ca".
_RECEIVED = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z_]+)\Z")
_RECEIVED_IN_WORDS = re.compile(r"(?:sslv3|tlsv1|tlsv13) (?:alert )?([a-z ]+?)(?: \(_ssl|\Z)")

RECEIVED_CAUSES: Final[dict[str, Cause]] = {
    "unknown_ca": "untrusted",
    "bad_certificate": "unaccepted",
    "certificate_unknown": "unaccepted",
    "unsupported_certificate": "unaccepted",
    "certificate_revoked": "unaccepted",
    "access_denied": "unaccepted",
    "certificate_expired": "expired",
    "certificate_required": "client-certificate",
    "protocol_version": "version",
    "insufficient_security": "parameters",
    "handshake_failure": "parameters",
    "unrecognized_name": "unknown-name",
}

# Our own reasons → the alert that OpenSSL sends with them ("" where it sends none), and the cause.
SENT: Final[dict[str, tuple[str, Cause]]] = {
    "WRONG_VERSION_NUMBER": ("", "plain-text"),
    "HTTP_REQUEST": ("", "plain-text"),
    "HTTPS_PROXY_REQUEST": ("", "plain-text"),
    "PACKET_LENGTH_TOO_LONG": ("", "plain-text"),
    "UNSUPPORTED_PROTOCOL": ("protocol_version", "version"),
    "UNKNOWN_PROTOCOL": ("protocol_version", "version"),
    "NO_PROTOCOLS_AVAILABLE": ("", "version"),
    "VERSION_TOO_LOW": ("protocol_version", "version"),
    "NO_SHARED_CIPHER": ("handshake_failure", "parameters"),
    "NO_SHARED_GROUP": ("handshake_failure", "parameters"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": ("handshake_failure", "parameters"),
    "NO_CIPHERS_AVAILABLE": ("", "parameters"),
    "DH_KEY_TOO_SMALL": ("handshake_failure", "weak"),
    "EE_KEY_TOO_SMALL": ("handshake_failure", "weak"),
    "WRONG_SIGNATURE_TYPE": ("illegal_parameter", "weak"),
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": ("handshake_failure", "weak"),
    # Our callback never fails; Python does, before it, on an SNI that is not ASCII.
    "CALLBACK_FAILED": ("internal_error", "unknown-name"),
    "UNEXPECTED_EOF_WHILE_READING": ("", "left"),
}

# X509_V_ERR_* → alert and cause, as OpenSSL's ssl_x509err2alert has them.
VERIFY_CODES: Final[dict[int, tuple[str, Cause]]] = {
    2: ("unknown_ca", "untrusted"),
    7: ("decrypt_error", "bad-certificate"),
    9: ("bad_certificate", "not-yet-valid"),
    10: ("certificate_expired", "expired"),
    18: ("unknown_ca", "untrusted"),
    19: ("unknown_ca", "untrusted"),
    20: ("unknown_ca", "untrusted"),
    21: ("unknown_ca", "untrusted"),
    22: ("unknown_ca", "bad-certificate"),
    23: ("certificate_revoked", "bad-certificate"),
    24: ("unknown_ca", "bad-certificate"),
    25: ("unknown_ca", "bad-certificate"),
    26: ("unsupported_certificate", "bad-certificate"),
    27: ("bad_certificate", "untrusted"),
    28: ("bad_certificate", "bad-certificate"),
    62: ("bad_certificate", "name-mismatch"),
    64: ("bad_certificate", "name-mismatch"),
    66: ("bad_certificate", "weak"),
    67: ("bad_certificate", "weak"),
    68: ("bad_certificate", "weak"),
}
OTHER_VERIFY_CODE: Final[tuple[str, Cause]] = ("certificate_unknown", "bad-certificate")


def received_alert(reason: str, text: str) -> str:
    """The name of the alert that the peer sent; "" where the error is not about one.

    Args:
        reason: OpenSSL's, such as TLSV1_ALERT_UNKNOWN_CA; "" where Python knows no name for it.
        text: the error's words.
    """
    if reason:
        found = _RECEIVED.match(reason)
        return found.group(1).lower() if found else ""
    words = _RECEIVED_IN_WORDS.search(text)
    return words.group(1).replace(" ", "_") if words else ""
