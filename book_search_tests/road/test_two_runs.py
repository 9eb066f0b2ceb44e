"""Two runs of the whole road at once on one lake and one database: each waits for the other, and nothing is doubled.

They share Dagster's records, whose pools keep their steps apart, or they know nothing of each other: then the locks
of the lake and of the database do. `BOOK_SEARCH_TEST_PAIRS` sets how many pairs are run of each kind.
"""

import os
import random
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from book_search.instance import prepare_dagster_home
from book_search_tests.road.disturbed import SEED, Base, state_of
from book_search_tests.road.killed_run import road_in_this_process
from book_search_tests.road.outcome import held_of

PAIRS = int(os.environ.get("BOOK_SEARCH_TEST_PAIRS", "1"))
LATER = 2.0  # seconds that the second begins after the first, at the most


@pytest.mark.timeout(300 * PAIRS)
@pytest.mark.parametrize("apart", [False, True], ids=["one DAGSTER_HOME", "two"])
def test_two_runs_at_once_end_as_one(
    base: Base,
    undisturbed: dict[str, object],
    apart: bool,
) -> None:
    for number in range(PAIRS):
        killer = base.killer(f"pair-{number}-{'apart' if apart else 'together'}")
        rng, home = random.Random(f"{SEED} {number}"), killer.home
        places = [home / "dagster", home / "dagster" / "other"] if apart else [home / "dagster"] * 2
        children: list[BaseProcess] = []
        for place in places:
            prepare_dagster_home(place)
            environment = {**killer.environment, "DAGSTER_HOME": str(place)}
            output = killer.output.with_suffix(f".{len(children)}.log")
            children.append(base.forking.Process(target=road_in_this_process, args=(environment, output)))
            children[-1].start()
            children[-1].join(rng.uniform(0, LATER))
        for child in children:
            child.join()

        said = "".join(Path(killer.output.with_suffix(f".{each}.log")).read_text()[-2000:] for each in range(2))
        assert [child.exitcode for child in children] == [0, 0], said
        assert state_of(home) == undisturbed
        assert [held_of(place) for place in places] == [{"runs": {}}] * 2
