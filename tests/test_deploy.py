"""The files in `deploy/` are what their programs take; proxies are run in `test_proxies.py`."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from micwire.cli.exits import CANT_CREATE, TEMPORARY_FAILURE, USAGE
from micwire.config import Config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "micwire.service").read_text()


def test_the_systemd_unit_is_sound_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "micwire.service"
    program = Path(sys.executable).with_name("micwire")
    unit.write_text(UNIT.replace("/opt/micwire/bin/micwire", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if "micwire" in line]
    assert (done.returncode, complaints) == (0, [])
    command: list[str | Path] = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--threshold=20",
        unit,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_unit_starts_again_when_that_may_help_and_only_then() -> None:
    again = re.findall(r"^RestartForceExitStatus=(.*)$", UNIT, re.MULTILINE)
    never = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT, re.MULTILINE)
    assert again == [str(TEMPORARY_FAILURE)]
    assert never == [f"{USAGE} {CANT_CREATE}"]


def test_the_dockerfile_has_no_faults_that_a_linter_knows() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [program, DEPLOY / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_all_that_it_copies_and_the_extras_that_there_are() -> None:
    names = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for name in names)
    extras = re.search(r'"\.\[(.+)\]"', (DEPLOY / "Dockerfile").read_text())
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = ", project, re.MULTILINE) for extra in extras[1].split(","))


def test_the_compose_file_names_settings_files_and_networks_that_there_are() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    micwire, caddy = compose["services"]["micwire"], compose["services"]["caddy"]
    settings = {name.removeprefix("MICWIRE_").lower() for name in micwire["environment"]}
    assert settings <= Config.model_fields.keys()
    assert (DEPLOY / micwire["build"]["context"] / micwire["build"]["dockerfile"]).exists()
    volumes = [each.partition(":")[0] for each in (*micwire["volumes"], *caddy["volumes"])]
    assert set(volumes) == compose["volumes"].keys()
    [inside] = compose["networks"]["inside"]["ipam"]["config"]
    assert inside["subnet"] == micwire["environment"]["MICWIRE_FORWARDED_ALLOW_IPS"]
    assert micwire["networks"] == caddy["networks"] == ["inside"]
