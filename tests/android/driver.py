"""The Java client, driven from here."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import jvm


class Driver:
    """A JVM with one client; see ClientDriver.java for the commands. An asynchronous context manager."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *jvm.command("interop.ClientDriver"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        if kind is None:
            self._process.stdin.close()
        else:
            self._process.kill()
        await self._process.wait()

    async def tell(self, *words: object) -> dict[str, Any]:
        """Gives a command and returns the answer, which may be an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((" ".join(str(word) for word in words) + "\n").encode())
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, "the driver ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def open(
        self,
        url: str | None,
        bundle: Path | str,
        recording: Path,
        *,
        mode: str = "auto",
        deadline: float | None = None,
        point: str | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        """Opens the client, on `point` unless a request names another."""
        rest = ("-" if value is None else value for value in (deadline, point, token))
        return await self.tell("open", url or "-", bundle, mode, recording, *rest)

    async def infer(self, picture: Path, point: str | None = None) -> dict[str, Any]:
        """Answers one picture: raw RGB bytes of a square."""
        await self.tell("begin", "it", picture, point or "-")
        return await self.tell("await", "it")
