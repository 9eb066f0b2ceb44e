"""A large file is read once for as long as it stays as it is, and a changed one is never taken for the old."""

import hashlib
import os
from pathlib import Path

import pytest

from book_search.clip import digests
from book_search.clip.digests import digest_of_files


@pytest.fixture(autouse=True)
def everything_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "WORTH_KEEPING", 0)


def _anew(path: Path, cache: Path) -> str:
    """As another process would ask."""
    digests._remembered.cache_clear()
    return digest_of_files([path], cache)


def test_a_digest_is_of_names_sizes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    (tmp_path / "b").write_bytes(b"words")

    expected = hashlib.sha256(b"a\x007\x00weightsb\x005\x00words").hexdigest()

    assert digest_of_files([tmp_path / "a", tmp_path / "b"], tmp_path / "cache") == expected


def test_what_is_remembered_is_not_read_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"weights")
    _anew(path, cache)
    [kept] = cache.iterdir()
    kept.write_text("0" * 64)

    assert _anew(path, cache) == "0" * 64


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"weights")
    before, times = _anew(path, cache), path.stat()

    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert _anew(path, cache) != before


def test_what_was_kept_broken_is_computed_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"weights")
    digest = _anew(path, cache)
    [kept] = cache.iterdir()

    for broken in (b"", b"\xff\xfe", b"nothing", b"x" * 64):
        kept.write_bytes(broken)
        assert _anew(path, cache) == digest


def test_without_a_place_to_keep_it_a_digest_is_computed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"weights")

    assert _anew(path, path / "no folder") == _anew(path, tmp_path / "cache")


def test_a_small_file_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "WORTH_KEEPING", 50)
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"weights")

    _anew(path, cache)

    assert not cache.exists()
