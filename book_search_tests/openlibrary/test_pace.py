"""Turns, pauses and the circuit breaker, by a clock that only waiting moves."""

import itertools
import logging
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from book_search.openlibrary.answers import HostPausedError
from book_search.openlibrary.breaker import FORGOTTEN, Breaker
from book_search.openlibrary.host_states import HostStates, OwnHostStates, SharedHostStates
from book_search.openlibrary.pace import Pace, Turn
from book_search.sample.server import Content, SampleServer
from book_search_tests.openlibrary.fake_time import FakeTime

HOST = "covers.openlibrary.org"


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime(1e9)


def pace_of(
    fake: FakeTime,
    states: HostStates | None = None,
    breaker: Breaker | None = None,
    rate: float = 60,
    longest: float = 120,
) -> Pace:
    return Pace(rate, longest, states or OwnHostStates(fake.clock), breaker or Breaker())


def take(fake: FakeTime, pace: Pace, host: str = HOST) -> Turn:
    return pace.take_turn(host, fake.sleep)


def fail(fake: FakeTime, pace: Pace, times: int) -> None:
    for _ in range(times):
        pace.failed(take(fake, pace), "HTTP 503")


def test_turns_come_evenly_from_the_first_on(fake: FakeTime) -> None:
    pace = pace_of(fake, rate=120)

    turns = [take(fake, pace).at for _ in range(5)]

    assert [later - earlier for earlier, later in itertools.pairwise(turns)] == [0.5] * 4
    assert sum(fake.slept) == pytest.approx(2.0)


def test_a_host_that_was_idle_has_saved_no_turns(fake: FakeTime) -> None:
    pace = pace_of(fake)
    take(fake, pace)
    fake.now += 600

    assert take(fake, pace).at + 1 == pytest.approx(take(fake, pace).at)


def test_hosts_have_paces_of_their_own(fake: FakeTime) -> None:
    pace = pace_of(fake)

    assert take(fake, pace).at == take(fake, pace, "archive.org").at


def test_two_processes_share_one_pace_and_each_others_pauses(fake: FakeTime, tmp_path: Path) -> None:
    one, other = (pace_of(fake, SharedHostStates(tmp_path, fake.clock)) for _ in range(2))

    first, second = take(fake, one).at, take(fake, other).at
    one.pause(HOST, 50)
    third = take(fake, other).at

    assert (second - first, third - second) == (1, 50)


def test_a_turn_that_nobody_can_have_taken_is_not_waited_for(fake: FakeTime) -> None:
    states = OwnHostStates(fake.clock)
    slow = pace_of(fake, states, rate=1 / 60)  # one an hour
    first = take(fake, slow).at
    second = take(fake, slow).at

    assert second - first == 3600
    assert (
        take(fake, pace_of(fake, states)).at == second
    )  # which asks each second, and knows of nobody slower than a minute


def test_a_pause_beyond_the_longest_wait_is_told_instead_of_waited_for(fake: FakeTime) -> None:
    pace = pace_of(fake)
    pace.pause(HOST, 3600)

    with pytest.raises(HostPausedError, match=r"3,600 s") as paused:
        take(fake, pace)

    assert (paused.value.host, paused.value.seconds, fake.slept) == (HOST, 3600, [])


def test_a_pause_of_years_is_one_of_a_day(fake: FakeTime) -> None:
    pace = pace_of(fake, longest=1e9)
    pace.pause(HOST, 1e8)
    before = fake.now

    assert take(fake, pace).at - before == 24 * 3600


def test_a_streak_of_failures_pauses_the_host_and_says_so(fake: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=10, first_pause=20))

    with caplog.at_level(logging.WARNING):
        fail(fake, pace, 9)
        assert caplog.messages == []
        fail(fake, pace, 1)
    before = fake.now
    waited = take(fake, pace).at - before

    assert 10 <= waited <= 20
    (message,) = caplog.messages
    assert message == (
        f"{HOST} failed 10 times in a row (last: HTTP 503); it is left alone for {waited:.0f} s, pause 1 of 5"
    )
    assert pace.opened == 1


def test_an_answer_in_between_ends_a_streak(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=3))
    for _ in range(5):
        fail(fake, pace, 2)
        pace.answered(take(fake, pace))

    assert (pace.opened, set(fake.slept)) == (0, {1.0})


def test_after_a_pause_one_request_tries_and_the_others_wait_for_its_answer(fake: FakeTime, tmp_path: Path) -> None:
    one, other = (pace_of(fake, SharedHostStates(tmp_path, fake.clock), Breaker(streak=2)) for _ in range(2))
    fail(fake, one, 2)
    trial = take(fake, one)
    others: list[float] = []

    def until_answered(seconds: float) -> None:
        fake.sleep(seconds)
        others.append(fake.now)
        if len(others) == 10:
            one.answered(trial)

    turn = other.take_turn(HOST, until_answered)

    assert trial.trial
    assert len(others) >= 10
    assert (turn.trial, turn.clear) == (False, True)


def test_a_try_whose_process_was_killed_is_made_by_another_after_a_while(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=1, probe=30))
    fail(fake, pace, 1)
    killed = take(fake, pace)

    assert take(fake, pace).at - killed.at == pytest.approx(30, abs=0.5)


def test_pauses_grow_up_to_the_longest_until_it_is_enough(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=1, first_pause=8, longest_pause=30, openings=5))
    pauses = []
    fail(fake, pace, 1)
    for _ in range(3):
        before = fake.now
        turn = take(fake, pace)
        pauses.append(turn.at - before)
        pace.failed(turn, "HTTP 503")
    before = fake.now
    pace.failed(take(fake, pace), "HTTP 503")

    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, (8, 16, 30), strict=True))
    with pytest.raises(HostPausedError, match="failed 5 times in a row"):
        take(fake, pace)
    assert pace.opened == 5


def test_a_success_after_a_pause_forgets_all_failures(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=2))
    fail(fake, pace, 2)
    pace.answered(take(fake, pace))
    fail(fake, pace, 1)

    assert pace.opened == 1
    assert not take(fake, pace).trial


def test_what_was_on_its_way_when_the_pause_began_does_not_lengthen_or_end_it(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=2, first_pause=100), rate=1e9)
    fail(fake, pace, 1)
    turns = [take(fake, pace) for _ in range(3)]
    for turn in turns[:2]:
        pace.failed(turn, "reset")
    pace.answered(turns[2])
    before = fake.now

    again = take(fake, pace)

    assert pace.opened == 1
    assert again.at - before >= 50
    assert again.trial


def test_failures_of_long_ago_do_not_count(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=2, openings=2))
    fail(fake, pace, 3)
    with pytest.raises(HostPausedError):
        take(fake, pace)
    fake.now += FORGOTTEN + 1000

    assert not take(fake, pace).trial
    fail(fake, pace, 1)
    assert pace.opened == 2


def test_a_streak_is_seen_without_any_pace_as_well(fake: FakeTime) -> None:
    pace = pace_of(fake, breaker=Breaker(streak=4), rate=1e9)
    fail(fake, pace, 4)

    assert pace.opened == 1


ASK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from book_search.openlibrary.host_states import SharedHostStates
from book_search.openlibrary.http import PoliteClient, user_agent
states = SharedHostStates(Path(sys.argv[2]))
client = PoliteClient(user_agent(None), sys.argv[1], requests_per_minute=1200, states=states)
with ThreadPoolExecutor(3) as threads:
    list(threads.map(lambda n: client.get(f"{sys.argv[1]}/b/id/{n}-L.jpg?default=false"), range(12)))
"""


def test_the_server_sees_one_pace_however_many_processes_ask(tmp_path: Path) -> None:
    with SampleServer(Content(date(2026, 10, 31), {}, dict.fromkeys(range(12), b"a cover"))) as server:
        asking = [subprocess.Popen([sys.executable, "-c", ASK, server.url, str(tmp_path)]) for _ in range(3)]
        assert [process.wait(60) for process in asking] == [0, 0, 0]

        times = [each.at for each in server.asked]
        assert server.counts() == {200: 36}
        # 20 a second: from the first of 15 requests to the last pass 14 turns of 0.05 s, less what the first was late.
        assert all(later - earlier > 0.4 for earlier, later in zip(times, times[14:], strict=False))
