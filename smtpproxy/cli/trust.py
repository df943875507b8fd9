"""`smtpproxy trust`: writes the bundle, prints the line that makes an app trust us; it changes no system."""

from pathlib import Path

import click

from smtpproxy.cli.options import certs_option, find_certs
from smtpproxy.errors import ConfigError


@click.command("trust")
@click.argument("language", required=False)
@certs_option
@click.option(
    "--bundle",
    metavar="FILE",
    help="Write the bundle there, such as for an app of another user.  [default: bundle.pem beside the CA]",
)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text.")
def trust(language: str | None, certs: str | None, bundle: str | None, *, is_json: bool) -> None:
    """Print what makes an app trust the CA: the exact line for each language, or for one LANGUAGE.

    The CA is made if there is none. With a LANGUAGE, standard output is that line alone: in a shell,
    eval "$(smtpproxy trust python)" does it.
    """
    import msgspec

    from smtpproxy.tls.authority import Authority
    from smtpproxy.tls.trust import BUNDLE_NAME, find_lines, trust_lines, write_bundle

    folder = find_certs(certs)
    authority = Authority.load_or_create(folder)
    written = write_bundle(authority, Path(bundle).expanduser() if bundle else folder / BUNDLE_NAME)
    every = trust_lines(bundle=written, ca=authority.certificate_path)
    lines = every if language is None else find_lines(every, language)
    if not lines:
        names = ", ".join(line.language for line in every)
        raise ConfigError(f"no line for {language!r}; there is one for {names}")
    if is_json:
        facts = {
            "ca": str(authority.certificate_path),
            "bundle": str(written),
            "sha256": authority.sha256,
            "lines": lines,
        }
        click.echo(msgspec.json.encode(facts))
        return
    if language is not None:
        for line in lines:
            click.echo(line.line)
            click.echo(line.note, err=True)
        return
    click.echo(f"CA      {authority.certificate_path}")
    click.echo(f"bundle  {written} (the system's roots and this CA)")
    for line in lines:
        click.echo(f"\n{line.language}: {line.note}\n  {line.line}")
