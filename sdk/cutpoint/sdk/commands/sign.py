"""`cutpoint keygen` and `cutpoint sign`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cutpoint.sdk.bundle import Bundle, new_key, public_key
from cutpoint.sdk.bundle import sign as sign_bundle
from cutpoint.sdk.errors import InputError

__all__ = ["keygen", "sign"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Write a new private key for `cutpoint sign` to FILE, and print its public key.

    Clients take the public key as `trusted_keys`, servers as --trusted-keys. Whoever has FILE can sign.
    """
    private, public = new_key()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as stream:
        stream.write(private)
    click.echo(public)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Private key from `cutpoint keygen`.")
def sign(bundle: Path, key: Path) -> None:
    """Sign BUNDLE (a folder or a .cutpoint file) in place. Its hash stays what it is."""
    try:
        private = key.read_bytes()
    except OSError as error:
        raise InputError(f"key {key} cannot be read: {error.strerror}") from error
    signed = sign_bundle(Bundle.open(bundle), private)
    signed.save(bundle, overwrite=True)
    click.echo(f"{bundle} ({signed.hash[:12]}) is signed with {public_key(private)}")
