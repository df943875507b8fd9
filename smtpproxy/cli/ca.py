"""`smtpproxy ca`: makes, shows and exports the development CA; it knows no app (that is `trust`)."""

import json
import os
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from smtpproxy.cli.options import CONFIG_VARIABLE
from smtpproxy.config.paths import CONFIG_NAME, default_certs
from smtpproxy.config.readers import read_path
from smtpproxy.errors import ConfigError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def certs_option(command: _Command) -> _Command:
    """The `--certs DIR` of every command that needs the authority; see `certs_folder`."""
    return click.option(
        "--certs",
        envvar="SMTPPROXY_CERTS",
        metavar="DIR",
        help="The authority's folder.  [default: in the user's config folder]",
    )(command)


def certs_folder(certs: str | None) -> Path:
    """The flag, the variable, the `certs` key of smtpproxy.toml, or the default: as for `run`.

    Raises:
        ConfigError: smtpproxy.toml cannot be read, or says no path there.
    """
    if certs:
        return Path(certs).expanduser()
    path = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
    if not path.is_file():
        return default_certs()
    try:
        value = tomllib.loads(path.read_bytes().decode()).get("certs")
        return default_certs() if value is None else read_path(value, path.absolute().parent)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certs folder cannot be looked up in {path}: {error}; --certs DIR names it"
        ) from None


@click.group("ca")
def ca() -> None:
    """Make, show and export the development CA that the app is told to trust."""


@ca.command("create")
@certs_option
@click.option("--force", is_flag=True, help="Replace the CA that is there; apps must then trust the new one.")
def create(certs: str | None, *, force: bool) -> None:
    """Make ca.pem and ca.key; what is there already stays, unless --force is given."""
    from smtpproxy.tls.authority import CERTIFICATE_NAME, KEY_NAME, Authority

    folder = certs_folder(certs)
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

    authority = Authority.load(certs_folder(certs))
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

    authority = Authority.load(certs_folder(certs))
    data = authority.certificate.public_bytes(Encoding.PEM if form == "pem" else Encoding.DER)
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    save_file(Path(output), data, mode=PUBLIC_MODE)
    click.echo(f"{output} is written")
