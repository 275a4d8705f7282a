"""Who may use the server: bearer tokens from a file."""

from __future__ import annotations

import hmac
from pathlib import Path

from cutpoint.sdk.errors import InputError

__all__ = ["Tokens"]


class Tokens:
    """The accepted bearer tokens.

    Args:
        path: one token a line; empty lines and lines that begin with # are skipped. None: everyone is accepted.

    Raises:
        InputError: if the file cannot be read, or holds no token.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tokens: tuple[bytes, ...] = ()
        self.reload()

    @property
    def required(self) -> bool:
        """Whether only those with a token are accepted."""
        return self._path is not None

    def reload(self) -> None:
        """Reads the file again. On an error the tokens stay as they were."""
        if self._path is None:
            return
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"token file {self._path} cannot be read: {error}") from error
        tokens = tuple(line.strip().encode() for line in lines if line.strip() and not line.startswith("#"))
        if not tokens:
            raise InputError(f"token file {self._path} holds no token: nobody could connect")
        self._tokens = tokens

    def accept(self, token: str) -> bool:
        """Whether `token` may come in. Takes the same time whatever it looks like."""
        if self._path is None:
            return True
        given = token.encode()
        return any([hmac.compare_digest(given, known) for known in self._tokens])
