"""What this server shows to others, and what it trusts of them."""

from __future__ import annotations

import ssl
from pathlib import Path

from cutpoint.sdk import tls as sdk_tls
from cutpoint.sdk.errors import InputError
from cutpoint.server.settings import Settings

__all__ = ["client_context", "read_token"]


def read_token(path: Path | None) -> str | None:
    """The bearer token in a file; None without a file. Raises `InputError` if it cannot be used."""
    if path is None:
        return None
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"a token for another server cannot be read: {error}") from error
    if not token or len(token.splitlines()) > 1:
        raise InputError(f"{path}: one line with the token for another server is expected")
    return token


def client_context(settings: Settings, url: str | None, authorities: Path | None) -> ssl.SSLContext | None:
    """TLS for the way to another server, to which this one shows its certificate, if it has one.

    Args:
        settings: with this server's certificate.
        url: of the other server; without ``wss://`` there is no TLS.
        authorities: certificates (PEM) that the other one's may be signed with; None for the system's.

    Raises:
        InputError: if a file cannot be used.
    """
    if url is None or not url.startswith("wss://"):
        return None
    return sdk_tls.client_context(settings.tls_cert, settings.tls_key, authorities)
