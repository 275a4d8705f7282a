"""A process that computes tails, seen from the server: it is started, told what to load, and given batches."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from socket import socket, socketpair
from typing import Any, Generic, TypeVar, cast

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import RuntimeUnavailable
from cutpoint.server.engines.messages import HEAD, pack, receive, unpack
from cutpoint.server.engines.replica import pack_bundle
from cutpoint.server.settings import Settings
from cutpoint.server.tails import LoadedTails

__all__ = ["Child", "Line"]

T = TypeVar("T")

#: Seconds for a process that is to end.
_PATIENCE = 5.0
#: Not for the process, which ends with the server.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A process; one thread at a time. Raises `EOFError` or `OSError` wherever it is not there any more.

    Attributes:
        lines: sockets, one for each of its threads; who takes one out closes it.
        pid: its number.

    Raises:
        RuntimeUnavailable: if it ends before it began, or an onnxruntime provider is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        pairs = [socketpair() for _ in range(1 + settings.threads)]
        self._orders, *self.lines = (here for here, _ in pairs)
        numbers = [there.fileno() for _, there in pairs]
        command = [sys.executable, "-m", "cutpoint.server.engines.worker", *map(str, numbers)]
        null = subprocess.DEVNULL
        # It inherits that these are blocked: they are for the server, also while the process still begins.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = subprocess.Popen(command, stdin=null, stdout=null, pass_fds=numbers)
        except OSError:
            for here, _ in pairs:
                here.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for _, there in pairs:
                there.close()
        self._process = process
        self._end = weakref.finalize(self, _end, process, self._orders, self.lines)
        self.pid = process.pid
        try:
            self._orders.sendall(pack(settings))
            error = receive(self._orders)
        except (EOFError, OSError):
            error = RuntimeUnavailable("the process that is to compute tails ended before it began; see its messages")
        if error is not None:
            self.close()
            raise error

    def load(self, bundle: Bundle) -> LoadedTails:
        """Has it load a bundle. Raises as `Engine.load`."""
        loaded: LoadedTails = self._ask("load", pack_bundle(bundle, self._settings))
        return loaded

    def unload(self, bundle_hash: str) -> None:
        """Has it forget a bundle."""
        self._ask("unload", bundle_hash)

    def _ask(self, order: str, about: object) -> Any:
        self._orders.sendall(pack((order, about)))
        answer = receive(self._orders)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> int:
        """Ends it, if it has not ended; returns its exit status."""
        self._end()
        return self._process.wait()


def _end(process: subprocess.Popen[bytes], orders: socket, lines: Sequence[socket]) -> None:
    for each in (orders, *lines):
        each.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Line(asyncio.Protocol, Generic[T]):
    """A thread of the process: it gets one batch, and the next when that is done.

    Args:
        done: called with the line and the message when its batch is done.

    Attributes:
        begun: what it computes; None while it is free.
        lost: done when the process is not there any more.
    """

    def __init__(self, done: Callable[[Line[T], Any], None]) -> None:
        self.begun: T | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done = done
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < HEAD.size:
            return
        end = HEAD.size + HEAD.unpack_from(self._data)[0]
        if len(self._data) >= end:
            message = unpack(self._data[HEAD.size : end])
            del self._data[:end]
            self._done(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def begin(self, begun: T, message: bytes) -> None:
        """It shall compute that."""
        self.begun = begun
        self._transport.write(message)

    def close(self) -> None:
        """Lets go of the process."""
        self._transport.close()
