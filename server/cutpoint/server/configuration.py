"""Settings from a file, the environment and flags, in that order: later ones win."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import msgspec

from cutpoint.sdk.errors import InputError
from cutpoint.server.settings import SettingError, Settings

__all__ = ["PREFIX", "Configuration", "read_configuration"]

#: Variables of the environment that begin so are settings.
PREFIX = "CUTPOINT_SERVE_"

_TYPES = get_type_hints(Settings)
_NAMES = tuple(field.name for field in fields(Settings))


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, and for those that are not at their defaults where they come from."""

    settings: Settings
    origins: Mapping[str, str]

    def as_toml(self) -> str:
        """The settings as a file that `read_configuration` takes, with where each comes from."""
        lines = []
        for name in _NAMES:
            value = getattr(self.settings, name)
            origin = self.origins.get(name, "default")
            lines.append(f"# {name}: not set" if value is None else f"{name} = {_toml(value)}  # {origin}")
        return "\n".join(lines) + "\n"


def read_configuration(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Configuration:
    """Collects the settings.

    Args:
        file: TOML with settings as its keys; None for none. Paths in it are relative to the file.
        environment: variables; those that begin with `PREFIX` are settings. Several values have commas in between.
        flags: settings that were given on the command line.

    Raises:
        InputError: if the file cannot be read, or for a setting that does not exist or cannot be used; says which, and
            where it comes from.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def take(name: str, value: object, origin: str, strict: bool) -> None:
        if name not in _TYPES:
            raise InputError(f"{origin}: there is no setting {name!r}; there are {', '.join(_NAMES)}")
        try:
            values[name] = msgspec.convert(value, _TYPES[name], strict=strict, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise InputError(f"{origin}: {name} cannot be {value!r}: {error}") from error
        origins[name] = origin

    if file is not None:
        for name, value in _read(file).items():
            take(name, value, str(file), strict=True)
            if isinstance(values[name], Path):
                values[name] = file.parent / values[name]
    for variable in sorted(environment):
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            text = environment[variable]
            several = name in _TYPES and get_origin(_TYPES[name]) is tuple
            take(name, text.split(",") if several else text, variable, strict=False)
    for name, value in flags.items():
        take(name, value, f"--{name.replace('_', '-')}", strict=False)
    try:
        return Configuration(Settings(**values), origins)
    except SettingError as error:
        raise InputError(f"{origins.get(error.name, 'settings')}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as TOML: {error}") from error


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"expected a {kind.__name__}")


def _toml(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    return msgspec.json.encode(value).decode()
