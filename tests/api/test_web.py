"""The page and its modules as they are served: types, caching, other origins, nothing else."""

from collections.abc import Iterator

import httpx
import pytest

from micwire.api.web import WEB
from tests.faults.harness import Server

FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*.*"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a real server."""
    with (
        Server(tmp_path_factory.mktemp("web") / "data") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http,
    ):
        yield http


@pytest.mark.parametrize("path", FILES)
def test_every_file_is_served_as_it_is(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/{path}")
    assert answer.status_code == 200
    assert answer.content == (WEB / path).read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    if path.endswith(".js"):
        assert answer.headers["content-type"].startswith("text/javascript")
    again = client.get(f"/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_only_the_recorder_is_for_other_origins(client: httpx.Client) -> None:
    recorder = client.get("/recorder/micwire.js")
    assert recorder.headers["access-control-allow-origin"] == "*"
    assert recorder.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "access-control-allow-origin" not in client.get("/page.js").headers


def test_the_page_is_at_the_root_and_its_addresses_are_relative(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.content == (WEB / "index.html").read_bytes()
    assert 'src="/' not in page.text
    assert 'href="/' not in page.text


def test_a_page_is_at_its_name_beside_its_modules(client: httpx.Client) -> None:
    page = client.get("/library")
    assert page.content == (WEB / "library.html").read_bytes()
    assert page.headers["content-type"].startswith("text/html")
    assert 'src="/' not in page.text
    assert 'href="/' not in page.text
    assert client.get("/library/element.js").status_code == 200
    assert client.get("/library/").status_code == 404


def test_modules_are_compressed_for_who_takes_that(client: httpx.Client) -> None:
    plain = client.get("/recorder/journal.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get("/recorder/journal.js")
    assert packed.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", ["/nothing.js", "/../app.py", "/%2e%2e/app.py", "/recorder/"])
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
