"""The graph is the design's: its assets, edges, groups, and what a person reads of them."""

import subprocess
import sysconfig
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.build import build_definitions

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))

ROAD = {
    "edition_dump": set(),
    "work_dump": set(),
    "author_dump": set(),
    "redirect_dump": set(),
    "books": {"edition_dump", "work_dump", "author_dump", "redirect_dump"},
    "covers": {"books"},
    "cover_embeddings": {"covers"},
    "cover_tags": {"cover_embeddings"},
    "book_rows": {"books"},
    "cover_vectors": {"covers", "cover_embeddings", "cover_tags"},
    "search_index": {"book_rows", "cover_vectors"},
    "relevance_report": {"search_index"},
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions()


def _specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_the_definitions_load(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_the_road_has_the_designs_assets_and_edges(definitions: dg.Definitions) -> None:
    edges = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in _specs(definitions).items()}
    assert edges == ROAD


def test_every_asset_has_a_group_kinds_an_owner_and_a_description(definitions: dg.Definitions) -> None:
    for name, spec in _specs(definitions).items():
        assert spec.group_name in {"open_library", "catalogue", "covers", "search", "evaluation"}, name
        assert spec.kinds, name
        assert spec.owners, name
        assert len(spec.description or "") > 30, name


def test_only_the_work_on_covers_is_divided(definitions: dg.Definitions) -> None:
    divided = {name for name, spec in _specs(definitions).items() if spec.partitions_def}
    assert divided == {"covers", "cover_embeddings", "cover_tags", "cover_vectors"}


def test_nothing_runs_by_itself_until_it_is_switched_on(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert repository.sensor_defs
    assert repository.schedule_defs
    assert all(s.default_status == dg.DefaultSensorStatus.STOPPED for s in repository.sensor_defs)
    assert all(s.default_status == dg.DefaultScheduleStatus.STOPPED for s in repository.schedule_defs)


def test_dg_finds_nothing_wrong_with_the_definitions() -> None:
    checked = subprocess.run(
        [SCRIPTS / "dg", "check", "defs"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
