"""What is remembered of a host: one state for all threads and processes, whole after any kill, never absurd."""

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from book_search.openlibrary.host_states import LONGEST_PAUSE, HostState, OwnHostStates, SharedHostStates
from book_search_tests.openlibrary.fake_time import FakeTime

HOST = "covers.openlibrary.org"

COUNT = """
import sys
from pathlib import Path
from book_search_tests.openlibrary.test_host_states import count
from book_search.openlibrary.host_states import SharedHostStates
print("begun", flush=True)
count(SharedHostStates(Path(sys.argv[1])), int(sys.argv[2]))
"""


def count(states: SharedHostStates | OwnHostStates, times: int) -> None:
    """Add one to a number so often; whoever reads between another's reading and writing loses one."""
    for _ in range(times):
        states.update(HOST, lambda state, _: (replace(state, failures=state.failures + 1), None))


def counting(folder: Path, times: int) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", COUNT, str(folder), str(times)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],  # where it finds this module
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def read(states: SharedHostStates | OwnHostStates, host: str = HOST) -> HostState:
    return states.update(host, lambda state, _: (state, state))


def write(states: SharedHostStates, state: HostState) -> None:
    states.update(HOST, lambda *_: (state, None))


def test_what_one_process_writes_another_reads(tmp_path: Path) -> None:
    state = HostState(1.5, 2.5, 3, 4, 5.5, 6.5)
    write(SharedHostStates(tmp_path), state)

    assert read(SharedHostStates(tmp_path)) == state
    assert read(SharedHostStates(tmp_path), "archive.org") == HostState()


def test_threads_and_processes_take_turns_at_a_state(tmp_path: Path) -> None:
    states = SharedHostStates(tmp_path)
    others = [counting(tmp_path, 2000) for _ in range(2)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: count(states, 1000), range(3)))
    assert [other.wait(60) for other in others] == [0, 0]

    assert read(states).failures == 2 * 2000 + 3 * 1000


def test_threads_of_one_process_take_turns_without_a_file() -> None:
    states = OwnHostStates()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: count(states, 5000), range(4)))

    assert read(states).failures == 4 * 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_takes_turns_with_its_parent(tmp_path: Path) -> None:
    states = SharedHostStates(tmp_path)
    count(states, 1)
    child = os.fork()
    if child == 0:
        count(states, 3000)
        os._exit(0)
    count(states, 3000)

    assert os.waitpid(child, 0)[1] == 0
    assert read(states).failures == 6001


def test_a_process_killed_at_any_moment_leaves_a_whole_state_and_no_lock(tmp_path: Path) -> None:
    states = SharedHostStates(tmp_path)
    chance = random.Random(4)
    for _ in range(8):
        before = read(states).failures
        killed = counting(tmp_path, 10_000_000)
        time.sleep(chance.uniform(0, 0.02))
        killed.kill()
        killed.wait()

        assert read(states).failures >= before  # a torn record would have been begun anew
        assert killed.returncode == -9
    assert read(states).failures > 8


@pytest.mark.parametrize("size", [0, 1, 30, 55, 200])
def test_a_torn_record_is_begun_anew(tmp_path: Path, size: int) -> None:
    write(SharedHostStates(tmp_path), HostState(next_turn=1e9, paused_until=time.time() + 50))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes((whole + bytes(200))[:size] if size < len(whole) else b"\x7f" * size)

    states = SharedHostStates(tmp_path)

    assert read(states) == HostState()
    assert read(states) == HostState()


def test_a_record_with_one_wrong_bit_is_begun_anew(tmp_path: Path) -> None:
    write(SharedHostStates(tmp_path), HostState(next_turn=1e9))
    (file,) = tmp_path.iterdir()
    whole = bytearray(file.read_bytes())
    whole[11] ^= 1
    file.write_bytes(whole)

    assert read(SharedHostStates(tmp_path)) == HostState()


def test_nobody_waits_for_longer_than_a_day_whatever_is_written(tmp_path: Path) -> None:
    fake = FakeTime(1e9)
    states = SharedHostStates(tmp_path, fake.clock)
    write(states, HostState(next_turn=1e300, paused_until=1e12, open_until=1e12, probe_until=1e12))

    state = read(states)

    day_ahead = fake.now + LONGEST_PAUSE
    assert (state.next_turn, state.paused_until, state.open_until, state.probe_until) == (day_ahead,) * 4


def test_a_clock_set_back_neither_shortens_nor_lengthens_a_pause(tmp_path: Path) -> None:
    fake = FakeTime(1e9)
    states = SharedHostStates(tmp_path, fake.clock)
    write(states, HostState(paused_until=fake.now + 300))
    fake.now -= 3600

    first = read(states).paused_until - fake.now
    fake.now += 200
    later = read(states).paused_until - fake.now

    assert (first, later) == (300, 100)


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OSError, match="file"):
        SharedHostStates(tmp_path / "file" / "pace")
