"""Which event loop the server runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cutpoint.server.settings import LoopName, SettingError

__all__ = ["loop_factory"]


def loop_factory(name: LoopName) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop of that name; ``auto`` is uvloop where it is installed.

    Raises:
        SettingError: if uvloop is asked for and not installed.
    """
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        if name == "auto":
            return asyncio.new_event_loop
        raise SettingError("loop", "is uvloop, which is not installed: pip install 'cutpoint[uvloop]'") from error
    return uvloop.new_event_loop
