"""What the user sees while calibration works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ConsoleReporter", "Reporter", "SilentReporter"]


class Reporter(Protocol):
    """Hears what calibration is doing."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """A stage of `total` steps begins; the context gives a function to call after each step."""
        ...

    def note(self, text: str) -> None:
        """Something worth knowing that is no error."""
        ...


class SilentReporter:
    """Says nothing; keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        yield lambda: None

    def note(self, text: str) -> None:
        self.notes.append(text)


class ConsoleReporter:
    """Bars on a terminal, one line per stage elsewhere.

    Args:
        console: where to write; standard error keeps standard output for results.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        if not self._console.is_terminal:
            self._console.print(f"{title} …", highlight=False)
            yield lambda: None
            return
        columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=total)
            yield lambda: progress.advance(task)

    def note(self, text: str) -> None:
        self._console.print(f"note: {text}", highlight=False, markup=False)
