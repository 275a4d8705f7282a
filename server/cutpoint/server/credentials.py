"""What this server shows to others, and what it trusts of them."""

from __future__ import annotations

import ssl
from pathlib import Path

from cutpoint.sdk.errors import InputError

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


def client_context(authorities: Path | None) -> ssl.SSLContext | None:
    """TLS with the certificates of a file; None, for the system's, without one. Raises `InputError` for a bad file."""
    if authorities is None:
        return None
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{authorities} holds no certificates of other servers: {error}") from error
