"""The process that computes a server's tails: ``python -m cutpoint.server.engines.worker``.

It inherits sockets. Through the first it is told its settings and which bundles to load; each other one belongs to one
of its threads, which gets a batch and answers with the outcomes. It ends when the server does, however that ends;
`Child` starts it deaf to the signals that ask a server to stop.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from socket import socket
from typing import Any

from cutpoint.codecs import SymbolMemory
from cutpoint.server.engines.messages import pack, pack_outcomes, receive, sendable, unpack_sample
from cutpoint.server.engines.replica import Replica
from cutpoint.server.settings import Settings


class _Workers:
    """Threads that compute, each what comes on its own socket."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._counting = threading.Lock()
        self._counted = time.process_time()
        #: Of the streams that the server knows, by its numbers for them.
        self._memories: dict[int, SymbolMemory] = {}

    def run(self, line: socket) -> None:
        """Goes on until the server closes."""
        try:
            while True:
                line.sendall(pack(self._computed(*receive(line))))
        except (EOFError, OSError):
            return  # whoever waits for orders notices, too

    def _computed(self, bundle_hash: str, packed: list[Any], ended: list[int]) -> tuple[object, float]:
        for stream in ended:
            self._memories.pop(stream, None)
        outcome: object
        try:
            bundle = self._replica.bundles[bundle_hash]
            samples = [unpack_sample(sample, bundle, self._memory) for sample in packed]
            outcome = pack_outcomes(self._replica.run(bundle_hash, samples))
        except Exception as error:
            outcome = sendable(error)
        return outcome, self.spent()

    def spent(self) -> float:
        """Seconds of processor time since this was asked last."""
        with self._counting:
            before, self._counted = self._counted, time.process_time()
            return self._counted - before

    def _memory(self, stream: int) -> SymbolMemory:
        return self._memories.get(stream) or self._memories.setdefault(stream, SymbolMemory())


def _obey(replica: Replica, workers: _Workers, orders: socket) -> None:
    """Loads and unloads bundles until the server closes."""
    while True:
        try:
            order, about = receive(orders)
        except (EOFError, OSError):
            return
        answer: object = None
        try:
            if order == "load":
                answer = replica.load(about)
            else:
                replica.unload(about)
        except Exception as error:
            answer = sendable(error)
        # What is loaded stays: to look for garbage in it now and then would hold up all batches.
        gc.collect()
        gc.freeze()
        workers.spent()  # on that, which is no work
        orders.sendall(pack(answer))


def main(orders: socket, *lines: socket) -> None:
    """Computes until the server closes the sockets."""
    settings: Settings = receive(orders)
    try:
        replica = Replica(settings)
    except Exception as error:
        orders.sendall(pack(sendable(error)))
        return
    workers = _Workers(replica)
    for line in lines:
        threading.Thread(target=workers.run, args=[line], daemon=True, name="cutpoint-tail").start()
    orders.sendall(pack(None))
    _obey(replica, workers, orders)


if __name__ == "__main__":
    main(*(socket(fileno=int(number)) for number in sys.argv[1:]))
    # Batches that nobody waits for any more do not keep it.
    os._exit(0)
