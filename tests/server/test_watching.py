import os
from pathlib import Path

from cutpoint.server.watching import FileWatch


def test_file_watch(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    watch = FileWatch([one, None, two])
    assert not watch.changed()
    two.write_text("2")
    assert watch.changed()
    assert not watch.changed()
    (tmp_path / "new").write_text("1")
    os.replace(tmp_path / "new", one)  # as careful programs write
    assert watch.changed()
    one.unlink()
    assert watch.changed()
    assert not watch.changed()
