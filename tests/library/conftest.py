"""What tests of the library share: a Postgres for all of them."""

from collections.abc import Iterator

import pytest

from tests.library.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
