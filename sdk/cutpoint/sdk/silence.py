"""How long a link may be silent. No clock in here."""

from __future__ import annotations

__all__ = ["SilenceLimit"]

#: What is left of the longest delay with each answer: after 34 of them, half.
_FADING = 0.98
#: A silence that was so many times as long is the end.
_TIMES = 2.0


class SilenceLimit:
    """After how many seconds of silence a link is given up.

    A machine with too much to do answers late: who takes that for its end drops it, and again when it is back. So what
    probes took counts, and so do silences that were taken for the end: where the machine comes back, it was not.

    Args:
        least: seconds.
        most: seconds, however late answers came.
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = max(least, most)
        self._longest = 0.0

    @property
    def seconds(self) -> float:
        """The limit now."""
        return min(self._most, max(self._least, _TIMES * self._longest))

    def observe(self, delay: float) -> None:
        """A probe was answered after `delay` seconds, or the link was given up after as many of silence."""
        self._longest = max(delay, _FADING * self._longest)
