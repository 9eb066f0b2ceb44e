"""The command line's errors: one sentence with the way out, no secret, no traceback."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"


def _fails(*arguments: str, folder: Path, **settings: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "HF_HUB_OFFLINE": "1"} | settings
    ran = subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_a_run_without_a_contact_is_told_before_anything_starts(tmp_path: Path) -> None:
    said = _fails("run", folder=tmp_path, BOOK_SEARCH_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert "BOOK_SEARCH_CONTACT" in said
    assert "BOOK_SEARCH_MODEL" in said  # the model cannot be had either, and is told of at once
    assert said.count("\n") == 1


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    said = _fails("similar", "OL1M", folder=tmp_path, BOOK_SEARCH_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:9/db")
    assert "127.0.0.1" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("command", [["psql"], ["similar", "OL1M"]])
def test_an_address_that_cannot_be_read_is_refused_without_its_password(tmp_path: Path, command: list[str]) -> None:
    said = _fails(*command, folder=tmp_path, BOOK_SEARCH_DATABASE_URL="postgres//me:hunter2@127.0.0.1/db")
    assert "hunter2" not in said
    assert "postgresql://" in said


def test_a_setting_that_is_wrong_is_told_by_its_name(tmp_path: Path) -> None:
    said = _fails("doctor", folder=tmp_path, BOOK_SEARCH_REQUESTS_PER_MINUTE="fast")
    assert "BOOK_SEARCH_REQUESTS_PER_MINUTE" in said
    assert said.count("\n") == 1


def test_a_key_that_is_none_is_told_with_one_that_is(tmp_path: Path) -> None:
    assert "OL123M" in _fails("why", "moby-dick", folder=tmp_path)
