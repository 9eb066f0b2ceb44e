"""Every asset can be launched from the command line, with today's words and with the superseded ones."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search.sample.library import plan_library
from book_search.sample.serving import content_of
from book_search_tests.road.conftest import MakeRoad, Road, make_road, open_folder  # noqa: F401

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
IN_PROCESS = '{"execution": {"config": {"in_process": {}}}}'  # a process a step would cost a minute
EVERYTHING = {
    "edition_dump", "work_dump", "author_dump", "redirect_dump", "books", "covers", "cover_embeddings", "cover_tags",
    "book_rows", "cover_vectors", "search_index", "relevance_report",
}  # fmt: skip


@pytest.fixture(scope="module")
def road(make_road: MakeRoad, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:  # noqa: F811
    content = content_of(plan_library(seed=5, kept=20, dropped=26), tmp_path_factory.mktemp("drawn"), size=(60, 90))
    with make_road("command-line", content) as road:
        home = tmp_path_factory.mktemp("dagster")
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        road.environment.setenv("DAGSTER_HOME", str(home))
        yield road


def _launch(*command: str) -> None:
    launched = subprocess.run(
        [SCRIPTS / command[0], *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert launched.returncode == 0, launched.stdout[-3000:] + launched.stderr[-3000:]


def _materialized() -> set[str]:
    with dg.DagsterInstance.get() as instance:
        return {key.to_user_string() for key in instance.get_asset_keys()}


def test_every_asset_is_launched_by_dg_and_by_the_superseded_words(road: Road) -> None:
    config = road.home / "in_process.yaml"
    config.write_text(IN_PROCESS)  # JSON is YAML
    _launch("dg", "launch", "--job", "refresh_catalogue", "--config-json", IN_PROCESS)
    with dg.DagsterInstance.get() as instance:
        ranges = instance.get_dynamic_partitions("cover_range")
    assert ranges

    _launch("dg", "launch", "--assets", "*", "--partition", ranges[0], "--config-json", IN_PROCESS)
    assert _materialized() == EVERYTHING

    # A span of ranges in one run: `dg launch --partition-range` takes single-run backfill policies alone.
    span = json.dumps({RANGE_START: ranges[0], RANGE_END: ranges[-1]})
    module = ("-m", "book_search.definitions")
    _launch("dagster", "job", "execute", *module, "-j", "embed_covers", "--tags", span, "-c", str(config))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("covers")) == set(ranges)

    _launch("dagster", "asset", "materialize", *module, "--select", "search_index", "--config-json", IN_PROCESS)
