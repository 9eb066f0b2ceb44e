"""What `infra/` holds is linted; no container engine is at hand to run it."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def _passes(*command: str | Path) -> str:
    finished = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_dockerfile_passes_its_linter() -> None:
    _passes(SCRIPTS / "hadolint", ROOT / "infra/Dockerfile")


def test_the_compose_file_fits_its_schema() -> None:
    _passes(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "infra/docker-compose.yml")


def test_every_variable_that_compose_asks_for_stands_in_the_example() -> None:
    compose = (ROOT / "infra/docker-compose.yml").read_text()
    example = (ROOT / "infra/env.example").read_text()
    asked = {part.split(":", 1)[0].split("}", 1)[0] for part in compose.split("${")[1:]}
    assert asked
    assert all(f"{name}=" in example for name in asked)


def test_the_dagster_instance_settings_are_ones_that_dagster_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config
    from dagster._core.instance.config import dagster_instance_config_schema

    for name in ("HOST", "USER", "PASSWORD", "DB"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "given")
    settings = yaml.safe_load((ROOT / "infra/dagster.yaml").read_text())
    outcome = process_config(dagster_instance_config_schema(), settings)
    assert outcome.success, outcome.errors


def test_the_dockerfile_copies_what_the_wheel_needs() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    for needed in ("pyproject.toml", "README.md", "LICENSE", "sql", "book_search"):
        assert needed in dockerfile
        assert (ROOT / needed).exists()
