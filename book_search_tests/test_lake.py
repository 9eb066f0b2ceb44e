"""The lake: whole files or none, on disk and on a real S3 API."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from book_search.lake import Lake, open_lake

TABLE = pa.table({"cover_id": [1, 2, 3], "status": ["ok", "missing", "ok"]})


def test_what_is_written_is_read_again(any_lake: Lake) -> None:
    any_lake.write_table("covers/0014_6/0014_62.parquet", TABLE)
    any_lake.write_bytes("dumps/editions.json", b"{}")

    assert any_lake.read_table("covers/0014_6/0014_62.parquet").equals(TABLE)
    assert any_lake.read_table("covers/0014_6/0014_62.parquet", ["status"]).column_names == ["status"]
    assert any_lake.read_bytes("dumps/editions.json") == b"{}"
    assert any_lake.size("dumps/editions.json") == 2
    assert any_lake.names("covers/0014_6") == ["covers/0014_6/0014_62.parquet"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(any_lake: Lake, tmp_path: Path) -> None:
    any_lake.write_bytes("books.json", b"old")

    def fail_in_the_middle() -> None:
        with any_lake.writing("books.json") as local:
            local.write_bytes(b"half of the n")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()

    assert any_lake.read_bytes("books.json") == b"old"
    assert not list(tmp_path.rglob("*partial*"))


def test_a_file_under_way_is_seen_by_no_reader(any_lake: Lake) -> None:
    with any_lake.writing("covers/a.parquet") as local:
        local.write_bytes(b"half")
        assert not any_lake.exists("covers/a.parquet")
        assert any_lake.names("covers") == []


def test_a_file_can_be_had_as_a_local_one(any_lake: Lake) -> None:
    any_lake.write_bytes("dumps/editions.txt.gz", b"gzip")

    with any_lake.local("dumps/editions.txt.gz") as path:
        assert path.read_bytes() == b"gzip"


def test_a_missing_file_is_told_by_its_address(any_lake: Lake) -> None:
    assert not any_lake.exists("nothing.json")
    assert any_lake.names("no/such/folder") == []
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        any_lake.size("nothing.json")


def test_folders_are_listed_apart_from_files(any_lake: Lake) -> None:
    any_lake.write_bytes("embeddings/one-model/0014_6/a.parquet", b"1")
    any_lake.write_bytes("embeddings/another/0014_6/a.parquet", b"1")
    any_lake.write_bytes("embeddings/note.txt", b"1")
    assert any_lake.folders("embeddings") == ["embeddings/another", "embeddings/one-model"]
    assert any_lake.folders("tags") == []


def test_deleting_is_repeatable(any_lake: Lake) -> None:
    any_lake.write_bytes("a.json", b"1")
    any_lake.delete("a.json")
    any_lake.delete("a.json")
    assert not any_lake.exists("a.json")


@pytest.mark.parametrize("home", ["gs://bucket/prefix", "s3://"])
def test_a_home_of_another_kind_is_refused(home: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        open_lake(home)


def test_publishing_moves_a_finished_file_into_the_lake(any_lake: Lake, tmp_path: Path) -> None:
    finished = tmp_path / "finished.gz"
    finished.write_bytes(os.urandom(100_000))
    content = finished.read_bytes()

    any_lake.publish(finished, "dumps/a.txt.gz")

    assert any_lake.read_bytes("dumps/a.txt.gz") == content
    assert not finished.exists()
