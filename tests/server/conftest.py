from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.toy import toy_bundle

from cutpoint.sdk import Backoff, Bundle, LinkTimes
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer, Settings

#: Reconnects within a tenth of a second.
QUICK = LinkTimes(backoff=Backoff(0.01, 0.1))


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return toy_bundle()


@pytest.fixture(scope="session")
def slow_bundle() -> Bundle:
    """Its tail takes a good part of a second."""
    return toy_bundle("slow", tail_repeats=60)


@pytest.fixture(scope="session")
def bundle_file(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "toy.cutpoint"
    bundle.save(path)
    return path


@pytest.fixture(scope="session")
def slow_file(slow_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "slow.cutpoint"
    slow_bundle.save(path)
    return path


@pytest.fixture
async def server(bundle: Bundle) -> AsyncIterator[EdgeServer]:
    """A server in the test's own event loop."""
    server = EdgeServer(bundle, Settings(port=0, grace=2.0))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def process(bundle_file: Path) -> AsyncIterator[ServerProcess]:
    """A server in a process of its own."""
    async with ServerProcess(bundle_file) as process:
        yield process
