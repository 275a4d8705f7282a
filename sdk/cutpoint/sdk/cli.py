"""The `cutpoint` command. Each layer brings its own sub-commands, through the entry points `cutpoint.commands`."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points

import click

from cutpoint.codecs.errors import CutpointError

__all__ = ["main"]

log = logging.getLogger("cutpoint")


class _Commands(click.Group):
    """Loads a sub-command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(point.name for point in entry_points(group="cutpoint.commands"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        for point in entry_points(group="cutpoint.commands", name=name):
            command = point.load()
            assert isinstance(command, click.Command)
            return command
        return None


@click.group(cls=_Commands)
@click.version_option(package_name="cutpoint")
def _cutpoint() -> None:
    """Split inference: the head on the device, compressed features on the wire, the tail on an edge server."""


def main() -> None:
    """Entry point. Says in one line what went wrong; exit status 1: an error, 2: wrong usage, 130: Ctrl-C."""
    try:
        _cutpoint.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except CutpointError as error:
        log.debug("where it was raised", exc_info=True)
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
