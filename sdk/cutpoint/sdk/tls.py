"""Certificates of the end that connects."""

from __future__ import annotations

import ssl
from pathlib import Path

from cutpoint.sdk.errors import InputError

__all__ = ["client_context", "load_certificate"]


def client_context(cert: Path | None = None, key: Path | None = None, ca: Path | None = None) -> ssl.SSLContext:
    """What a server is spoken to with, for `Client(ssl=…)`.

    Args:
        cert: certificate chain (PEM) to show where the server asks for one; None to show none.
        key: its private key (PEM).
        ca: certificates (PEM) of which the server must show one that is signed; None for those that the system trusts.

    Raises:
        InputError: if a file cannot be used, or one of certificate and key is missing.
    """
    if (cert is None) != (key is None):
        raise InputError("a TLS certificate and its key go together: give both, or none")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{ca} holds no certificates of authorities (PEM is expected): {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None and key is not None:
        load_certificate(context, cert, key)
    return context


def load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """From now on `context` shows that certificate. Raises `InputError` if a file cannot be used."""
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise InputError(f"TLS certificate {cert} and key {key}: {error}") from error


def _no_password() -> str:
    # Without this, a process whose key is encrypted would wait at a prompt.
    raise ValueError("the key is encrypted; it is taken without a password only")
