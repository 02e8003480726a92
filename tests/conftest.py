"""Fixtures for tests against the real server; see running.py."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from running import Api, Server


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers of this test's own; keyword arguments are settings such as RESYNC__DEADLINE."""
    made: list[Server] = []

    def make(start: bool = True, name: str = "server", **settings: str) -> Server:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        server = Server(directory, settings)
        made.append(server)
        if start:
            server.start()
        return server

    yield make
    for server in made:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module's tests, which keep to accounts of their own. It tells no phone."""
    its = Server(tmp_path_factory.mktemp("server"), {})
    its.start()
    yield its
    code = its.stop()
    assert code == 0, its.log.read_text()
    assert "Traceback" not in its.log.read_text()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    its = Api(server)
    yield its
    await its.close()
