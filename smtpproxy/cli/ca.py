"""`smtpproxy ca`: makes, shows and exports the development CA; it knows no app (that is `trust`)."""

import json
import shlex
import sys
from pathlib import Path

import click

from smtpproxy.cli.options import certs_option, find_certs


@click.group("ca")
def ca() -> None:
    """Make, show and export the development CA that the app is told to trust."""


@ca.command("create")
@certs_option
@click.option("--force", is_flag=True, help="Replace the CA that is there; apps must then trust the new one.")
def create(certs: str | None, *, force: bool) -> None:
    """Make ca.pem and ca.key; what is there already stays, unless --force is given."""
    from smtpproxy.tls.authority import CERTIFICATE_NAME, KEY_NAME, Authority

    folder = find_certs(certs)
    is_there = (folder / CERTIFICATE_NAME).is_file() and (folder / KEY_NAME).is_file()
    if is_there and not force:
        authority = Authority.load(folder)
        click.echo(
            f"{authority.certificate_path} is there already, valid until {authority.not_after:%Y-%m-%d};"
            " --force replaces it"
        )
        return
    authority = Authority.create(folder, force=force)
    click.echo(f"{authority.certificate_path} is made, valid until {authority.not_after:%Y-%m-%d}")
    click.echo(f"Have the app trust it: smtpproxy trust --certs {shlex.quote(str(folder))}")


@ca.command("show")
@certs_option
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
def show(certs: str | None, *, is_json: bool) -> None:
    """Show whose certificate it is, how long it is valid, and its fingerprint."""
    from smtpproxy.tls.authority import Authority

    authority = Authority.load(find_certs(certs))
    certificate = authority.certificate
    facts = {
        "certificate": str(authority.certificate_path),
        "subject": certificate.subject.rfc4514_string(),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": authority.sha256,
    }
    if is_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):12} {value}")


@ca.command("export")
@certs_option
@click.option("-o", "--output", metavar="FILE", default="-", help="Where to; - is standard output.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["pem", "der"]),
    default="pem",
    show_default=True,
    help="DER is what Windows and Android import.",
)
def export(certs: str | None, output: str, form: str) -> None:
    """Write the CA's certificate (never its key) to a file."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from smtpproxy.tls.authority import Authority
    from smtpproxy.tls.files import PUBLIC_MODE, save_file

    authority = Authority.load(find_certs(certs))
    data = authority.certificate.public_bytes(Encoding.PEM if form == "pem" else Encoding.DER)
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    save_file(Path(output), data, mode=PUBLIC_MODE)
    click.echo(f"{output} is written")
