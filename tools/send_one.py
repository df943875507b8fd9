"""Sends one short message through the proxy by smtplib, so that there is something to look at.

send_one.py [URL]
"""

import smtplib
import sys
from email.message import EmailMessage
from urllib.parse import urlsplit


def main(url: str = "smtp://127.0.0.1:1025") -> None:
    """Say what a small app says: EHLO, one message, QUIT; plain, so that no CA has to be known."""
    target = urlsplit(url)
    message = EmailMessage()
    message["From"] = "app@example.com"
    message["To"] = "someone@example.com"
    message["Subject"] = "Hello through smtpproxy"
    message.set_content("If you can read this in `smtpproxy show latest`, it works.\n")
    with smtplib.SMTP(target.hostname or "127.0.0.1", target.port or 1025, timeout=30) as smtp:
        smtp.send_message(message)
    print("sent; now: smtpproxy show latest")


if __name__ == "__main__":
    main(*sys.argv[1:2])
