"""What all tests share: the option that lets the long fault runs in, and who runs beside whom.

A Postgres for all of them, too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.postgres import Postgres, running_postgres

BROWSER = Path(__file__).parent / "browser"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long fault tests too")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `soak`, but for `--soak`; keep together what shares a machine.

    Two run at a time (`--dist loadgroup`): real browsers one after another in the one, as they
    need a core, and file after file of all else in the other.
    """
    for item in items:
        is_browser = item.path.is_relative_to(BROWSER)
        item.add_marker(pytest.mark.xdist_group("browser" if is_browser else str(item.path)))
    if config.getoption("--soak"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
