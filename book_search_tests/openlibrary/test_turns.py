"""Turns: one process at a time asks a host, and a killed one keeps nobody waiting."""

import subprocess
import sys
import time
from pathlib import Path

from book_search.openlibrary.turns import one_process_at_a_time

HOLD = """
import sys, time
from pathlib import Path
from book_search.openlibrary.turns import one_process_at_a_time
with one_process_at_a_time(Path(sys.argv[1]), sys.argv[2]):
    print("mine", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def _holder(folder: Path, url: str, seconds: float) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), url, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    return holder


def test_a_host_is_asked_by_one_process_after_the_other(tmp_path: Path) -> None:
    holder = _holder(tmp_path, "https://covers.openlibrary.org", 0.7)

    with one_process_at_a_time(tmp_path, "https://covers.openlibrary.org/b/id/1-L.jpg"):
        assert holder.wait(timeout=0.5) == 0  # its turn was over, or ours would not have come


def test_another_host_need_not_wait(tmp_path: Path) -> None:
    holder = _holder(tmp_path, "https://covers.openlibrary.org", 30)
    with one_process_at_a_time(tmp_path, "https://archive.org"):
        assert holder.poll() is None
    holder.kill()
    holder.wait()


def test_a_killed_process_gives_its_turn_back(tmp_path: Path) -> None:
    holder = _holder(tmp_path, "https://archive.org", 30)
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with one_process_at_a_time(tmp_path, "https://archive.org"):
        assert time.monotonic() - started < 10
