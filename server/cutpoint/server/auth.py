"""Who may use the server, and for how much: bearer tokens from a file."""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from cutpoint.sdk.errors import InputError

__all__ = ["ANYBODY", "Account", "Scope", "Tokens", "digest"]

#: infer: requests over WebSocket and HTTP. download: device parts. metrics: `/metrics`. status: `/v1/status`.
Scope = Literal["infer", "download", "metrics", "status"]
_ALL: frozenset[Scope] = frozenset(get_args(Scope))
_DEVICE: frozenset[Scope] = frozenset(("infer", "download"))
_SHORTEST = 16


class Account(msgspec.Struct, frozen=True):
    """Who stands behind a token.

    Attributes:
        name: for the status page and the log.
        scopes: what is allowed.
        weight: share of the workers, relative to others'.
        max_in_flight: requests at a time, over all connections; None: as many as connections allow.
        max_rate: requests per second; None for no limit.
    """

    name: str
    scopes: frozenset[Scope] = _DEVICE
    weight: float = 1.0
    max_in_flight: int | None = None
    max_rate: float | None = None


#: Everybody, where the server has no tokens.
ANYBODY = Account("", _ALL)


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A ``[[token]]`` of the file."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    token: str | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    scopes: frozenset[Scope] = _DEVICE
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    max_in_flight: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    token: tuple[_Entry, ...] = ()


def digest(token: str) -> bytes:
    """What is kept of a token: its SHA-256. Tokens are random, so there is nothing to guess and nothing to salt."""
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """The accepted bearer tokens, and whose they are.

    Args:
        path: a file; None to accept everyone. One that ends in ``.toml`` has a table ``[[token]]`` for each: `name`,
            `token` or the `sha256` of it (hex), and what `Account` has. Any other has a token a line, which may infer
            and download; empty lines and lines that begin with # are skipped.

    Raises:
        InputError: if the file cannot be read, or holds no token.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._accounts: dict[bytes, Account] = {}
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
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"token file {self._path} cannot be read: {error}") from error
        accounts = dict(_from_toml(self._path, text) if self._path.suffix == ".toml" else _from_lines(text))
        if not accounts:
            raise InputError(f"token file {self._path} holds no token: nobody could connect")
        self._accounts = accounts

    def find(self, token: str) -> Account | None:
        """Whose token it is; None if nobody's. Takes the same time whatever it looks like."""
        if self._path is None:
            return ANYBODY
        given = digest(token)
        found = None
        for known, account in self._accounts.items():
            if hmac.compare_digest(given, known):
                found = account
        return found

    def still(self, token_digest: bytes) -> Account | None:
        """Whose token, accepted before, has this digest; None if it was taken out of the file."""
        return self._accounts.get(token_digest) if self._path is not None else ANYBODY


def _from_lines(text: str) -> Iterable[tuple[bytes, Account]]:
    for line in text.splitlines():
        token = line.strip()
        if token and not token.startswith("#"):
            key = digest(token)
            # No part of the token may be in a log.
            yield key, Account(f"token {key.hex()[:8]}")


def _from_toml(path: Path, text: str) -> Iterable[tuple[bytes, Account]]:
    try:
        entries = msgspec.convert(tomllib.loads(text), _File).token
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"token file {path}: {error}") from error
    keys: set[bytes] = set()
    names: set[str] = set()
    for entry in entries:
        if (entry.token is None) == (entry.sha256 is None):
            raise InputError(f"token file {path}: {entry.name!r} needs one of token and sha256")
        if entry.token is not None and len(entry.token) < _SHORTEST:
            raise InputError(f"token file {path}: the token of {entry.name!r} has under {_SHORTEST} characters")
        key = digest(entry.token) if entry.token is not None else bytes.fromhex(entry.sha256 or "")
        if key in keys or entry.name in names:
            raise InputError(f"token file {path}: {entry.name!r} has a name or a token that another one has")
        keys.add(key)
        names.add(entry.name)
        yield (
            key,
            Account(entry.name, entry.scopes, entry.weight, entry.max_in_flight, entry.max_rate),
        )
