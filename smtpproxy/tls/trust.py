"""How an app is made to trust our authority: one merged bundle, and the exact line for each language.

It changes nothing on the system: what it prints is for a person to run where the app runs.
"""

import shlex
from pathlib import Path
from typing import Final

import msgspec

from smtpproxy.errors import CertificateError
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.files import PUBLIC_MODE, save_file
from smtpproxy.tls.roots import find_system_bundle, read_certificates

BUNDLE_NAME = "bundle.pem"


class TrustLine(msgspec.Struct, frozen=True, kw_only=True):
    """What to do in one language or program.

    Attributes:
        language: as a person names it.
        line: one shell command line, or the options to start the program with.
        note: what it covers, and what it does not.
    """

    language: str
    line: str
    note: str


def write_bundle(authority: Authority, path: Path) -> Path:
    """Write one PEM file of the system's roots and our CA, for programs that take one file in their place.

    Returns:
        The path, absolute.

    Raises:
        CertificateError: the system's roots cannot be read, or the file cannot be written.
    """
    path = path.absolute()
    system = find_system_bundle(but_not=path)
    try:
        roots = read_certificates(system) if system is not None else []
    except OSError as error:
        raise CertificateError(f"the system's roots {system} cannot be read: {error.strerror}") from None
    ours = authority.certificate_pem.strip()
    lines = [root for root in roots if root != ours]
    save_file(path, b"\n".join([*lines, ours, b""]), mode=PUBLIC_MODE)
    return path


def trust_lines(*, bundle: Path, ca: Path) -> tuple[TrustLine, ...]:
    """The line for every language and program, with these files in them.

    Args:
        bundle: what `write_bundle` wrote, for programs that take one file instead of the system's roots.
        ca: our certificate alone, for programs that add a file to theirs.
    """
    paths = {"bundle": shlex.quote(str(bundle.absolute())), "ca": shlex.quote(str(ca.absolute()))}
    truststore = bundle.absolute().with_name("java-truststore")
    paths["truststore"] = shlex.quote(str(truststore))
    # Java splits this variable at blanks, and takes quotes.
    paths["java_options"] = shlex.quote(f'"-Djavax.net.ssl.trustStore={truststore}"')
    return tuple(
        TrustLine(language=name, line=line.format(**paths), note=note) for name, line, note in _LINES
    )


def find_lines(lines: tuple[TrustLine, ...], language: str) -> tuple[TrustLine, ...]:
    """The lines of one language, however it is written: node, Node.js and NODEJS are one.

    Returns:
        Empty where there is none of that name.
    """
    wanted = _ALIASES.get(_plain(language), _plain(language))
    return tuple(line for line in lines if _plain(line.language) == wanted)


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


_ALIASES: Final = {
    "py": "python",
    "python3": "python",
    "node": "nodejs",
    "js": "nodejs",
    "javascript": "nodejs",
    "golang": "go",
    "dotnet": "net",
    "csharp": "net",
}

# Name, line, note.
_LINES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Python",
        "export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}",
        "ssl, smtplib, aiosmtplib, Django, requests, httpx. Code that loads certifi by itself needs"
        " context.load_verify_locations().",
    ),
    (
        "Node.js",
        "export NODE_EXTRA_CA_CERTS={ca}",
        "nodemailer and all else on Node's tls; read once, when the process starts.",
    ),
    (
        "PHP",
        "php -d openssl.cafile={bundle} -d curl.cainfo={bundle}",
        "PHPMailer, Symfony Mailer, Laravel. Behind php-fpm write both settings into php.ini.",
    ),
    (
        "Java",
        'cp "${{JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v keytool)")")")}}'
        '/lib/security/cacerts" {truststore} && keytool -importcert -noprompt -alias smtpproxy -file {ca}'
        " -keystore {truststore} -storepass changeit && export JAVA_TOOL_OPTIONS={java_options}",
        "Jakarta Mail, Spring. A copy of Java's own roots and the CA; changeit is their usual password.",
    ),
    ("Ruby", "export SSL_CERT_FILE={bundle}", "Net::SMTP, mail, Action Mailer."),
    ("Go", "export SSL_CERT_FILE={bundle}", "net/smtp, crypto/tls; on macOS and Windows Go asks the system."),
    (
        ".NET",
        "export SSL_CERT_FILE={bundle}",
        "MailKit, System.Net.Mail on Linux; on macOS and Windows .NET asks the system.",
    ),
    ("curl", "export CURL_CA_BUNDLE={bundle}", "Or for one call: curl --cacert FILE."),
    (
        "OpenSSL",
        "openssl s_client -CAfile {ca} -verify_return_error -starttls smtp -connect 127.0.0.1:1025",
        "Anything else on OpenSSL reads SSL_CERT_FILE, which takes the bundle.",
    ),
    (
        "swaks",
        "swaks --tls --tls-verify --tls-ca-path {ca} --server 127.0.0.1 --port 1025 --to you@example.com",
        "Without --tls-verify swaks trusts everything.",
    ),
    (
        "msmtp",
        "msmtp --tls=on --tls-trust-file={bundle} --host=127.0.0.1 --port=1025 you@example.com",
        "Or tls_trust_file in ~/.msmtprc.",
    ),
)
