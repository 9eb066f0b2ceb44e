"""The whole road killed at random moments, again and again: it ends in exactly the state of an undisturbed one.

Killed are the process that runs it, Postgres' postmaster and its other processes. `BOOK_SEARCH_TEST_ROAD_KILLS` sets
how many kills there are at least; `make kill-road` asks for many.
"""

import os

import pytest

from book_search_tests.road.disturbed import Base, state_of

KILLS = int(os.environ.get("BOOK_SEARCH_TEST_ROAD_KILLS", "5"))
A_HOME = 5  # kills of one home's road, before it is left alone


@pytest.mark.timeout(120 * KILLS if KILLS > A_HOME else 600)
def test_killed_again_and_again_the_road_ends_as_if_undisturbed(base: Base, undisturbed: dict[str, object]) -> None:
    kills: dict[str, int] = {}
    homes = 0
    while sum(kills.values()) < KILLS:
        killer = base.killer(f"killed-{homes}")
        ended = any(killer.run_and_kill() == 0 for _ in range(A_HOME))
        assert ended or killer.run() == 0, killer.output.read_text()[-5000:]

        assert state_of(killer.home) == undisturbed
        homes += 1
        kills = {victim: kills.get(victim, 0) + number for victim, number in killer.killed.items()}
        print(f"{homes} homes, kills: {kills}; {killer.complaints}", flush=True)
