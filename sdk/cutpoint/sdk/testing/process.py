"""A server in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from io import BytesIO
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from cutpoint.sdk.errors import CutpointError

__all__ = ["ServerProcess"]


class ServerProcess:
    """Runs ``cutpoint serve`` as a child process. An asynchronous context manager.

    Args:
        bundle: folder or file; None where an option says what is served.
        options: further options of ``cutpoint serve``.
        timeout: seconds for it to be ready.
        prefix: words in front of the command, such as ``ip netns exec NAME``.

    Attributes:
        url: where it listens.
        bundle_hash: of what it serves, the first of them; empty if there was nothing yet.
        log: what it wrote to its standard error, once it has ended.

    Raises:
        CutpointError: if it does not come up; says what it printed.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None,
        *options: str,
        timeout: float = 60.0,
        prefix: Sequence[str] = (),
    ) -> None:
        self._bundles = [os.fspath(bundle)] if bundle is not None else []
        self._options = options
        self._timeout = timeout
        self._prefix = prefix
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._log: IO[bytes] = BytesIO()
        self.log = ""
        self.url = ""
        self.bundle_hash = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts it, on the port it had before if it ran before."""
        command = ["-m", "cutpoint.sdk", "serve", *self._bundles, "--port", str(self._port), "--json", *self._options]
        # Not a pipe: a server that writes more than fits in one would wait until somebody reads.
        self._log.close()
        self._log = await asyncio.to_thread(TemporaryFile)
        self._process = process = await asyncio.create_subprocess_exec(
            *self._prefix, sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=self._log
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), self._timeout)
        except TimeoutError:
            line = b""
        if not line:
            await self.kill()
            await asyncio.to_thread(self._read_log)
            raise CutpointError(f"the server did not start: {self.log.strip() or 'it said nothing'}")
        ready = json.loads(line)
        self.url = ready["url"]
        self.bundle_hash = ready["models"][0]["bundle"] if ready["models"] else ""
        self._port = int(self.url.rsplit(":", 1)[1])

    async def kill(self) -> None:
        """Ends it at once, as ``kill -9`` does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> int:
        """Asks it to stop, waits until it has, and returns its exit status."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        return await self.wait()

    async def wait(self) -> int:
        """Waits until it has ended of itself, and returns its exit status."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.communicate(), self._timeout)
            except TimeoutError:
                await self.kill()
        await asyncio.to_thread(self._read_log)
        # The transport would otherwise complain, when collected, that its loop is closed.
        process._transport.close()  # type: ignore[attr-defined]
        assert process.returncode is not None
        return process.returncode

    def _read_log(self) -> None:
        if not self._log.closed:
            with self._log as log:
                log.seek(0)
                self.log = log.read().decode(errors="replace")
