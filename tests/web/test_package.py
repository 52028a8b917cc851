"""The recorder as others get it: its types, its version, and how much a page has to fetch."""

import gzip
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.browser.harness import ROOT

RECORDER = ROOT / "src" / "micwire" / "web" / "recorder"
MOST_BYTES = 40 * 1024
"""What element, worker and audio thread may take together, minified and compressed."""


def run(command: list[str], folder: Path) -> str:
    """Return what a command says, which is to succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for npm, where a project that uses it has it."""
    folder = tmp_path_factory.mktemp("project") / "node_modules" / "micwire"
    run(["make", "npm", f"NPM_BUILD={folder}"], ROOT)
    return folder


def test_the_package_holds_every_file_of_the_recorder_and_its_types(package: Path) -> None:
    [listing] = json.loads(run(["npm", "pack", "--dry-run", "--json", "--silent"], package))
    files = {file["path"] for file in listing["files"]}
    scripts = {f"recorder/{path.name}" for path in RECORDER.glob("*.js")}
    assert scripts <= files
    assert files - scripts - {path for path in files if path.endswith(".d.ts")} == {
        "LICENSE",
        "README.md",
        "package.json",
    }
    facts = json.loads((package / "package.json").read_text())
    exported = {path for target in facts["exports"].values() for path in target.values()}
    assert {path.removeprefix("./") for path in exported} <= files


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_a_typescript_program_that_uses_the_package_compiles(
    package: Path, resolution: str
) -> None:
    project = package.parents[1]
    (project / "package.json").write_text('{"type": "module"}')
    program = project / "consumer.ts"
    program.write_text(Path(__file__).with_name("consumer.ts").read_text())
    module = "nodenext" if resolution == "nodenext" else "es2022"
    options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2024,dom,dom.iterable"]
    options += ["--module", module, "--moduleResolution", resolution, "--ignoreConfig"]
    run([str(ROOT / "node_modules" / ".bin" / "tsc"), *options, str(program)], project)


def test_the_package_has_the_version_and_licence_of_the_project() -> None:
    npm = json.loads((ROOT / "package.json").read_text())
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {key: npm[key] for key in ("name", "version", "license")} == {
        key: python[key] for key in ("name", "version", "license")
    }
    assert "dependencies" not in npm


def test_what_is_needed_for_types_is_pinned() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    assert "typescript" in wanted
    assert all(version[0].isdigit() for version in wanted.values()), wanted


def test_the_recorder_is_small(tmp_path: Path) -> None:
    esbuild = [str(ROOT / "node_modules" / ".bin" / "esbuild"), "--bundle", "--minify"]
    esbuild += ["--format=esm", "--charset=utf8", "--splitting", "--log-level=error"]
    sizes = {}
    for name in ("micwire.js", "worker.js", "worklet.js"):
        folder, facts = tmp_path / name, tmp_path / f"{name}.json"
        run([*esbuild, str(RECORDER / name), f"--outdir={folder}", f"--metafile={facts}"], ROOT)
        outputs = json.loads(facts.read_text())["outputs"]
        later = {
            imported["path"]
            for output in outputs.values()
            for imported in output["imports"]
            if imported["kind"] == "dynamic-import"  # fetched by browsers that need it
        }
        assert len(later) == (name == "worker.js")
        code = b"".join((ROOT / path).read_bytes() for path in sorted(outputs.keys() - later))
        sizes[name] = len(gzip.compress(code, 9))
    print(sizes)
    assert sum(sizes.values()) <= MOST_BYTES, sizes
