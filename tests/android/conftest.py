import pytest

from . import jvm


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """The bridge, compiled; skips where that cannot be done."""
    if reason := jvm.missing():
        pytest.skip(reason)
    jvm.class_path()
