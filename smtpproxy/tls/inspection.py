"""What a handshake came to, or why it failed, as one value for the recording; it knows no socket."""

import ssl
from dataclasses import dataclass

from smtpproxy.session.events import Certificate, Leg, TlsInfo
from smtpproxy.tls.advice import Cause, advice_for
from smtpproxy.tls.alerts import OTHER_VERIFY_CODE, RECEIVED_CAUSES, SENT, VERIFY_CODES, received_alert
from smtpproxy.tls.certificates import chain_of

MAX_NAMES_SHOWN = 5


def info_of(ssl_object: ssl.SSLObject, *, leg: Leg, sni: str, is_verified: bool) -> TlsInfo:
    """What was negotiated; call it when the handshake stands. Costs some 10 µs for a chain seen before.

    Args:
        ssl_object: after `do_handshake` has returned.
        leg: whose.
        sni: sent (server leg: `sni_for(host)`) or received (client leg: `sni_of(ssl_object)`).
        is_verified: the context checked the peer's certificate (server leg, not --upstream-insecure).
    """
    cipher = ssl_object.cipher()
    return TlsInfo(
        version=ssl_object.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=ssl_object.selected_alpn_protocol() or "",
        sni=sni,
        verified=is_verified and leg == "server",
        certificates=chain_of(ssl_object),
    )


def failure_of(
    error: Exception, *, leg: Leg, ssl_object: ssl.SSLObject | None, sni: str, host: str
) -> TlsInfo:
    """Why a handshake failed, with the peer's chain where there is one, and what to do about it.

    In TLS 1.3 a server refuses our certificate only after the handshake stood, with an alert that the
    first read raises: that error belongs here too.

    Args:
        error: what `do_handshake` (or that read) raised, or the transport: TimeoutError, EOFError,
            ConnectionResetError or another OSError.
        leg: whose.
        ssl_object: as far as it came; None where it came to none.
        sni: as in `info_of`.
        host: the server's name or address; on the client's leg it is not used.
    """
    who = "the app" if leg == "client" else host or "the server"
    failure = _explain(error, leg, who)
    chain = chain_of(ssl_object) if ssl_object is not None else []
    leaf = chain[0] if chain else None
    return TlsInfo(
        version=(ssl_object.version() or "") if ssl_object is not None else "",
        sni=sni,
        certificates=chain,
        error=failure.text,
        alert=failure.alert,
        is_plain_text=failure.cause == "plain-text",
        advice=advice_for(
            leg,
            failure.cause,
            host=who,
            names=_names_for_people(leaf),
            not_before=leaf.not_before if leaf else "",
            not_after=leaf.not_after if leaf else "",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    cause: Cause
    text: str
    alert: str = ""


def _explain(error: Exception, leg: Leg, who: str) -> _Failure:
    match error:
        case ssl.SSLCertVerificationError():
            alert, cause = VERIFY_CODES.get(error.verify_code, OTHER_VERIFY_CODE)
            # OpenSSL's sentences end in a full stop now and then.
            message = error.verify_message.rstrip(".")
            return _Failure(cause=cause, alert=alert, text=f"the certificate of {who} is not good: {message}")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | EOFError():
            return _Failure(cause="left", text=f"{who} closed the connection during the TLS handshake")
        case ssl.SSLError():
            return _explain_ssl(error, leg, who)
        case TimeoutError():
            return _Failure(cause="timeout", text=f"no TLS handshake from {who} in time")
        case ConnectionError():
            return _Failure(cause="reset", text=f"{who} reset the connection during the TLS handshake")
        case _:
            return _Failure(cause="other", text=f"the TLS handshake with {who} failed: {_in_words(error)}")


def _explain_ssl(error: ssl.SSLError, leg: Leg, who: str) -> _Failure:
    # Neither is always there: Python fills them from its own table of OpenSSL's reasons.
    reason = getattr(error, "reason", None) or ""
    alert = received_alert(reason, str(error))
    if alert:
        cause = RECEIVED_CAUSES.get(alert, "other")
        return _Failure(cause=cause, alert=alert, text=f"{who} refused TLS with the alert {alert}")
    alert, cause = SENT.get(reason, ("", "other"))
    if cause == "plain-text":
        return _Failure(cause=cause, text=f"{who} sent plain text where a TLS handshake was due")
    return _Failure(cause=cause, alert=alert, text=f"the TLS handshake with {who} failed: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    """OpenSSL's or the system's reason alone, without codes and places in Python's source."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason:
        return reason.replace("_", " ").lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split(" (_ssl", 1)[0]


def _names_for_people(leaf: Certificate | None) -> str:
    if leaf is None:
        return ""
    names = [name.partition(":")[2] for name in leaf.names]
    more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(names[:MAX_NAMES_SHOWN]) + more
