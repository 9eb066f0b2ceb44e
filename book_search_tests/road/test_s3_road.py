"""The whole road on S3: the same files, ledger, vectors, tags and tables as on disk, every object encrypted."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from book_search.defs.build import build_definitions
from book_search.defs.run import run_road
from book_search.index.connection import database
from book_search.sample.library import plan_library
from book_search.sample.serving import content_of
from book_search_tests.road.conftest import MakeRoad, Road
from book_search_tests.road.outcome import files_of, rows_of

BUCKET, PREFIX = "library", "some/prefix/"


@dataclass(frozen=True)
class Shelf:
    """Where the road of S3 ended: its bucket, its scratch folder, its database, and the instance that ran it."""

    client: Any
    work: Path
    dsn: str
    instance: dg.DagsterInstance

    def objects(self) -> dict[str, tuple[str, datetime]]:
        """Every object of the bucket by its key, with what tells one version of it from another."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {each["Key"]: (each["ETag"], each["LastModified"]) for page in pages for each in page["Contents"]}


@pytest.fixture(scope="module")
def road(make_road: MakeRoad, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    content = content_of(plan_library(seed=5, kept=20, dropped=26), tmp_path_factory.mktemp("drawn"), size=(60, 90))
    with make_road("disk", content) as road:
        road.run()
        yield road


@pytest.fixture(scope="module")
def shelf(road: Road, open_folder: Path, s3_endpoint: str) -> Iterator[Shelf]:
    """The same library, from the same server, on S3 and in a database of its own."""
    home = open_folder / "beside-s3"
    home.mkdir()
    with database(None, home) as dsn, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_REGION": "us-east-1",
            "BOOK_SEARCH_HOME": f"s3://{BUCKET}/{PREFIX}",
            "BOOK_SEARCH_WORK": str(home / "work"),
            "BOOK_SEARCH_S3_ENDPOINT": s3_endpoint,
            "BOOK_SEARCH_DATABASE_URL": dsn,
        }.items():
            environment.setenv(name, value)
        client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        with dg.DagsterInstance.ephemeral() as instance:
            list(run_road(build_definitions(), instance))
            yield Shelf(client, home / "work", dsn, instance)


def test_every_file_on_s3_is_the_one_on_disk(road: Road, shelf: Shelf, tmp_path: Path) -> None:
    for key in shelf.objects():
        target = tmp_path / key.removeprefix(PREFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        shelf.client.download_file(BUCKET, key, str(target))

    on_s3, on_disk = files_of(tmp_path), files_of(road.home)

    assert on_s3 == on_disk
    stages = {path.split("/")[0] for path in on_s3}
    assert {"dumps", "catalogue", "covers", "embeddings", "tags"} <= stages


def test_every_table_is_the_one_that_came_from_disk(road: Road, shelf: Shelf) -> None:
    assert rows_of(shelf.dsn) == rows_of(road.dsn)


def test_every_object_is_encrypted_by_the_server_and_none_stands_for_a_folder(shelf: Shelf) -> None:
    heads = {key: shelf.client.head_object(Bucket=BUCKET, Key=key) for key in shelf.objects()}

    assert {head.get("ServerSideEncryption") for head in heads.values()} == {"AES256"}
    assert not [key for key in heads if key.endswith("/")]


def test_nothing_is_left_in_the_scratch_folder(shelf: Shelf) -> None:
    assert [path for path in shelf.work.rglob("*partial*") if path.is_file()] == []


def test_a_second_run_on_s3_writes_no_object(shelf: Shelf) -> None:
    before = shelf.objects()

    list(run_road(build_definitions(), shelf.instance))

    assert shelf.objects() == before
