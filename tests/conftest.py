"""What all tests share: the option that lets the long fault runs in, and who runs beside whom.

A Postgres for all of them, too.
"""

from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.library.postgres import Postgres, running_postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long fault tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `soak`, but for `--soak`."""
    if config.getoption("--soak"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # its package has no types
    """Deals tests out to two processes, so that what shares a machine is kept together.

    Real browsers, and faults that have a time to be judged by, run one after another in the
    one, as they need a core; file after file of all else in the other.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "timed" if file.startswith(("tests/browser/", "tests/faults/")) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SideBySide:
    return SideBySide(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
