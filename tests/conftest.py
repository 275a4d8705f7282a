import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

# Times say more about the machine than about the code.
settings.register_profile("cutpoint", deadline=None)
settings.load_profile("cutpoint")


@pytest.fixture(autouse=True)
def blocking_calls_fail() -> Iterator[BlockBuster]:
    """A call that blocks the event loop fails the test that made it."""
    with blockbuster_ctx("cutpoint") as blockbuster:
        yield blockbuster


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real models, photographs and traces."""
    root = Path(os.environ.get("CUTPOINT_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"{root} is not there; CUTPOINT_SHARED_DATA may name another folder")
    return root
