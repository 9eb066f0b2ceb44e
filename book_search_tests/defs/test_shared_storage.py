"""Dagster for several machines: its records in a Postgres over TCP, its runs' prints on S3, by the given settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import psycopg
import pytest
import yaml
from psycopg import sql

SETTINGS = Path(__file__).parents[2] / "infra/dagster.yaml"
ONE_BOX = "dagster.one-box.yaml"
BUCKET = "runs"
PASSWORD = "of-dagster-alone"


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "DAGSTER_LOGS_BUCKET": BUCKET,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def home(foreign: str, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DAGSTER_HOME of the given settings, with a database of its own."""
    host, _, port = foreign.rpartition("@")[2].partition(":")
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute(sql.SQL("CREATE ROLE dagster LOGIN PASSWORD {}").format(PASSWORD))
        boss.execute("CREATE DATABASE dagster OWNER dagster")
        for name, value in {"HOST": host, "USER": "dagster", "PASSWORD": PASSWORD, "DB": "dagster"}.items():
            monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
        given = SETTINGS.read_text()
        assert "postgres_db:\n" in given
        (tmp_path / "dagster.yaml").write_text(given.replace("postgres_db:\n", f"postgres_db:\n      port: {port}\n"))
        yield tmp_path
        boss.execute("DROP DATABASE dagster WITH (FORCE)")
        boss.execute("DROP ROLE dagster")


@dg.op
def speak() -> None:
    print("a line that the step printed")


@dg.job
def small_job() -> None:
    speak()


def test_a_job_is_remembered_in_postgres_and_its_prints_on_s3_encrypted(home: Path, s3: Any) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = small_job.execute_in_process(instance=instance).run_id

    with dg.DagsterInstance.from_config(str(home)) as elsewhere:
        run = elsewhere.get_run_by_id(run_id)
        assert run is not None
        assert (run.status, type(elsewhere.run_storage).__name__) == (dg.DagsterRunStatus.SUCCESS, "PostgresRunStorage")
        captured = elsewhere.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
        files = [entry.get_dagster_event().logs_captured_data.file_key for entry in captured]
        printed = [elsewhere.compute_log_manager.get_log_data([run_id, "compute_logs", file]).stdout for file in files]
    assert [text.decode() for text in printed if text] == ["a line that the step printed\n"]
    kept = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(run_id in key for key in kept)
    assert {s3.head_object(Bucket=BUCKET, Key=key).get("ServerSideEncryption") for key in kept} == {"AES256"}


def test_the_one_box_differs_in_where_the_logs_lie_and_in_nothing_else() -> None:
    shared, one_box = (yaml.safe_load((SETTINGS.parent / name).read_text()) for name in (SETTINGS.name, ONE_BOX))

    assert shared.pop("compute_logs")["class"] == "S3ComputeLogManager"
    assert one_box.pop("compute_logs")["class"] == "LocalComputeLogManager"
    assert one_box == shared
