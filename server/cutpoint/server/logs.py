"""The server's log: as text or JSON, and what repeats only once a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from datetime import UTC, datetime

import msgspec

from cutpoint.server.settings import LogFormat

__all__ = ["JsonFormatter", "Repeats", "set_up_logs"]

#: What every record has; the rest came with `extra`.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, `error` where there is one, and extras.

    Records about a request carry `request` (its number on the connection), `user` and `point`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logs(log_format: LogFormat, verbose: bool) -> None:
    """Writes the log of this process to its standard error.

    Args:
        log_format: text for people, or JSON, an object a line.
        verbose: connections and requests, too, not only what goes wrong.
    """
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


class Repeats:
    """Says which of many like events to log: the first of a kind in each period.

    Args:
        clock: monotonic seconds.
        period: seconds.
        most: kinds that are remembered; beyond it, all is forgotten rather than memory filled.
    """

    def __init__(self, clock: Callable[[], float], period: float = 60.0, most: int = 1024) -> None:
        self._clock = clock
        self._period = period
        self._most = most
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def first(self, kind: Hashable) -> int | None:
        """None if one of `kind` was logged within the period; else how many have been left out since the last one."""
        now = self._clock()
        since, left_out = self._seen.get(kind, (-self._period, 0))
        if now - since < self._period:
            self._seen[kind] = since, left_out + 1
            return None
        if len(self._seen) >= self._most and kind not in self._seen:
            self._seen.clear()
        self._seen[kind] = now, 0
        return left_out
