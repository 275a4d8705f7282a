"""The server's end of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.tls import load_certificate

__all__ = ["server_context"]


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """What new connections are spoken to with.

    Args:
        cert: certificate chain (PEM).
        key: private key (PEM).
        client_ca: certificates (PEM); where given, a client must show one that is signed by one of them.

    Raises:
        InputError: if a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, cert, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"client certificate authorities {client_ca}: {error}") from error
    return context
