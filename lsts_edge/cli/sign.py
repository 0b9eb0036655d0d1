"""``lsts-edge sign``: put an Ed25519 signature into a bundle, for devices that run only what you made."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lsts_edge.bundle.sign import sign_bundle
from lsts_edge.cli.group import examples, json_option

__all__ = ["command"]


@click.command(
    "sign",
    short_help="Sign a bundle with your Ed25519 key.",
    epilog=examples(
        "openssl genpkey -algorithm ed25519 -out key.pem",
        "openssl pkey -in key.pem -pubout -out key.pub.pem",
        "lsts-edge sign demo/bundle --key key.pem",
        "lsts-edge run demo/bundle street.mp4 --trusted-key key.pub.pem",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", required=True, metavar="PEM", help="Your private key; keep it off the device.")
@json_option
def command(bundle: Path, key: str, as_json: bool) -> None:
    """Verify every file of BUNDLE, then sign its manifest, which covers them all.

    The signature is one more file, signature.json; the bundle's digest stays as it is, and so do other people's
    signatures. An encrypted key's password is asked for.
    """
    by = sign_bundle(bundle, key, lambda: click.prompt("Password of the key", hide_input=True, err=True))
    if as_json:
        click.echo(json.dumps({"bundle": str(bundle), "signed_by": by.id}))
    else:
        click.echo(f"signed {bundle} as {by.id}")
