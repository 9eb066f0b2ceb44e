"""The README tells the truth: its commands exist, its table is the settings', its files are there.

Its SQL is run by road/test_sample_road.py, its figures of the tiny CLIP are held by sample/test_tiny_clip.py.
"""

import re
import subprocess
import sysconfig
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from book_search.cli.main import COMMANDS, cli
from book_search.defs.build import build_definitions
from book_search.openlibrary.ledger import STATUSES
from book_search.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_setting_stands_in_the_table_with_its_default_and_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `BOOK_SEARCH_(\w+)` \| (.*) \|$", README, re.MULTILINE))
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        expected[name.upper()] = f"{'' if default is None else f'`{shown}`'} | {field.description}"
    assert rows == expected


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"book-search (?:--demo )?([a-z]+)", README)) - {"demo"}
    assert named
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output) > 150


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)(?: |`|$)", README, re.MULTILINE)) - {"and"} <= targets


def test_every_asset_job_sensor_and_schedule_in_the_readme_exists() -> None:
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    known = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    known |= {job.name for job in repository.get_all_jobs()} | {each.name for each in repository.sensor_defs}
    known |= {each.name for each in repository.schedule_defs}
    known |= {str(each.op.pool) for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition)}
    road = README[README.index("## The road") : README.index("## Covers: ")]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", road)) - {"retry_statuses"}
    assert named <= known
    assert {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()} <= known


def test_every_status_and_sensor_in_the_part_on_covers_exists() -> None:
    sensors = {each.name for each in build_definitions().get_repository_def().sensor_defs}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", README[README.index("## Covers: ") : README.index("## SQL")]))
    assert set(STATUSES) <= named
    assert named <= {*STATUSES, *sensors, "covers"}


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links), links


def test_the_help_of_the_command_line_names_every_command() -> None:
    command = Path(sysconfig.get_path("scripts")) / "book-search"
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in COMMANDS)
