"""The recorder's pure modules: their tests in Node, and the vectors in the browsers themselves."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.chrome import Chromium
from tests.browser.firefox import Firefox
from tests.browser.harness import ROOT, hosted

HERE = Path(__file__).parent
VECTORS = ROOT / "spec" / "vectors"
REPORT = """import("/tests/web/vectors.js").then(({ report }) =>
    report((name) => fetch("/spec/vectors/" + name).then((answer) => answer.json())))"""

Report = dict[str, object]


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_the_tests_in_node_pass(file: Path) -> None:
    command = ["node", "--test", "--test-reporter=spec", str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def in_chromium(address: str, profile: Path) -> Report:
    """Return what the checks say in Chromium."""
    with sync_playwright() as playwright, Chromium(playwright, profile) as browser:
        report: Report = browser.open(address).evaluate(REPORT)
        return report


def in_firefox(address: str, profile: Path) -> Report:
    """Return what the checks say in Firefox."""
    with Firefox(profile) as browser:
        report: Report = browser.open(address).evaluate(REPORT)
        return report


def vectors() -> int:
    """Return how many vectors there are for a recorder."""

    def entries(name: str, *lists: str) -> list[dict[str, object]]:
        file = json.loads((VECTORS / f"{name}.json").read_text())
        return [entry for key in lists for entry in file[key]]

    refusals = entries("refusals", "refusals")
    return (
        len(entries("messages", "messages"))
        + sum(refusal["direction"] == "server" for refusal in refusals)
        + len(entries("digest", "digests"))
        + len(entries("wav", "headers"))
        + len(entries("sender", "conversations", "restarts"))
    )


@pytest.mark.browser
@pytest.mark.parametrize("run", [in_chromium, in_firefox])
def test_the_vectors_hold_in_a_browser(run: Callable[[str, Path], Report], tmp_path: Path) -> None:
    with hosted(ROOT) as origin:
        report = run(f"{origin}/tests/web/", tmp_path / "profile")
    assert report == {"passed": vectors(), "failed": []}
