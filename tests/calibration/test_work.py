from pathlib import Path

import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.work import WorkFolder, digest


def test_a_result_is_made_once(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    made = []

    def make() -> bytes:
        made.append(1)
        return b"result"

    assert work.get("step", "key", make) == work.get("step", "key", make) == b"result"
    assert (len(made), work.reused) == (1, 1)
    assert work.get("step", "other", make) == b"result"
    assert len(made) == 2
    work.remove()
    assert not work.path.exists()


def test_nothing_is_left_of_a_failed_step(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise KeyboardInterrupt

    work = WorkFolder(tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        work.get("step", "key", fail)
    assert not work.path.exists()


def test_a_folder_belongs_to_one_calibration(tmp_path: Path) -> None:
    path = tmp_path / "new" / "work"
    with WorkFolder(path) as work, pytest.raises(CalibrationError, match="another calibration"), WorkFolder(path):
        pass
    assert not path.parent.exists()
    with WorkFolder(path) as work:
        work.get("step", "key", lambda: b"result")
    with WorkFolder(path) as work:
        assert work.get("step", "key", lambda: b"other") == b"result"
        work.remove()
    assert not path.exists()


def test_a_digest_keeps_its_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"b") == digest("a", "b")
