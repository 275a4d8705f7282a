"""Which loop turns."""

import asyncio
import sys

import pytest

from cutpoint.server.loops import loop_factory
from cutpoint.server.settings import SettingError


def _made(name: str) -> str:
    loop = loop_factory(name)()  # type: ignore[arg-type]
    try:
        return type(loop).__module__.partition(".")[0]
    finally:
        loop.close()


def test_uvloop_turns_where_it_is_installed() -> None:
    pytest.importorskip("uvloop", reason="needs uvloop: pip install 'cutpoint[uvloop]'")
    assert (_made("auto"), _made("uvloop"), _made("asyncio")) == ("uvloop", "uvloop", "asyncio")


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory("auto") is asyncio.new_event_loop
    with pytest.raises(SettingError, match=r"loop is uvloop, which is not installed: pip install 'cutpoint\[uvloop\]'"):
        loop_factory("uvloop")
