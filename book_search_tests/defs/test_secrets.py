"""Secrets stay where they were set: whatever runs and fails, nothing that is written down or printed holds one."""

import json
import logging
import sqlite3
import traceback
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from psycopg import sql

from book_search.cli.main import cli, told
from book_search.defs import resources
from book_search.defs.build import build_definitions
from book_search.defs.in_process import execute
from book_search.defs.retries import DATABASE, Patience
from book_search.defs.run import run_road
from book_search.sample.library import plan_library
from book_search.sample.serving import content_of
from book_search_tests.road.conftest import MakeRoad, Road

PASSWORD, WRONG_PASSWORD = "Xpassword-of-the-database", "Xpassword-that-is-wrong"
KEY, TOKEN, ASKING = "Xsecret-key-of-amazon", "Xtoken-of-the-webhook", "Xpassword-of-open-library"
SECRETS = (PASSWORD, WRONG_PASSWORD, KEY, TOKEN, ASKING)


@dataclass(frozen=True)
class Watched:
    """A road all of whose secrets are set, what it may be told to do, and what came of the parts that failed."""

    road: Road
    dagster_home: Path
    dsn: str
    definitions: dg.Definitions

    def fails(self, caplog: pytest.LogCaptureFixture, **settings: str) -> str:
        """Have the books' rows be loaded with other settings, which fails; all that a person or a log is told of it."""
        with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.get() as instance:
            for name, value in settings.items():
                patch.setenv(name, value)
            caplog.clear()
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any; what it says is looked at
                execute(self.definitions, instance, "refresh_catalogue", {}, assets=["book_rows"])
            logging.getLogger("book_search").exception("it failed", exc_info=caught.value)
            return "".join(traceback.format_exception(caught.value)) + told(caught.value) + caplog.text


@pytest.fixture(scope="module")
def watched(
    make_road: MakeRoad,
    foreign: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """After the whole road has run once, into a database over TCP with a password."""
    place = foreign.rpartition("@")[2]
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute(sql.SQL("CREATE ROLE keeper LOGIN PASSWORD {}").format(PASSWORD))
        boss.execute("CREATE DATABASE kept OWNER keeper")
    with psycopg.connect(f"postgresql://{foreign}/kept", autocommit=True) as boss:
        boss.execute("CREATE EXTENSION vector")
    dsn = f"postgresql://keeper:{PASSWORD}@{place}/kept"
    content = content_of(plan_library(seed=5, kept=20, dropped=26), tmp_path_factory.mktemp("drawn"), size=(60, 90))
    with make_road("secrets", content, DATABASE_URL=dsn, WEBHOOK=f"http://127.0.0.1:9/{TOKEN}") as road:
        home = tmp_path_factory.mktemp("dagster")
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        road.environment.setenv("DAGSTER_HOME", str(home))
        road.environment.setenv("AWS_ACCESS_KEY_ID", "x")
        road.environment.setenv("AWS_SECRET_ACCESS_KEY", KEY)
        road.environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        at_once = dg.RetryPolicy(1, delay=0.01)
        road.environment.setattr(resources, "DATABASE", Patience(DATABASE.passes, at_once))
        definitions = build_definitions()
        with dg.DagsterInstance.get() as instance:
            assert list(run_road(definitions, instance))
        yield Watched(road, home, dsn, definitions)


def holders(folder: Path) -> dict[str, set[str]]:
    """The files under a folder that hold a secret, in clear, in Parquet, or in what Dagster compresses."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        texts = [path.read_bytes(), str(path.relative_to(folder)).encode()]
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            texts.append(repr(table.drop_columns([n for n in ("image", "vector") if n in table.column_names])).encode())
            texts += [str(table[name].to_pylist()).encode() for name in table.column_names if name not in ("vector",)]
        if texts[0].startswith(b"SQLite format 3"):
            texts += list(_cells(path))
        if held := {secret for secret in SECRETS for text in texts if secret.encode() in text}:
            found[str(path.relative_to(folder))] = held
    return found


def _cells(path: Path) -> Iterator[bytes]:
    """Every value of a SQLite file, unpacked where it is packed."""
    with sqlite3.connect(path) as opened:
        opened.text_factory = bytes
        for (table,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in opened.execute(f'SELECT * FROM "{table.decode()}"'):  # noqa: S608
                for value in row:
                    if isinstance(value, bytes):
                        yield value
                        try:
                            yield zlib.decompress(value)
                        except zlib.error:
                            continue


def test_a_secret_that_is_told_to_dagster_would_be_found(tmp_path: Path) -> None:
    @dg.op(config_schema=str)
    def tell(context: dg.OpExecutionContext) -> None:
        context.log.info(f"the password is {PASSWORD}")
        print(TOKEN)

    @dg.job
    def telling() -> None:
        tell()

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        telling.execute_in_process({"ops": {"tell": {"config": KEY}}}, instance=instance)
    pq.write_table(pa.table({"source_url": [ASKING] * 9}), tmp_path / "ledger.parquet", compression="zstd")

    assert set().union(*holders(tmp_path).values()) == {PASSWORD, TOKEN, KEY, ASKING}


def test_a_wrong_password_is_told_to_nobody(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    told = watched.fails(caplog, BOOK_SEARCH_DATABASE_URL=watched.dsn.replace(PASSWORD, WRONG_PASSWORD))

    assert "password authentication failed" in told
    assert not [secret for secret in SECRETS if secret in told]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda dsn: dsn.replace("127.0.0.1:", "127.0.0.1:1"),  # a port that is none, or of nobody
        lambda dsn: dsn.replace("postgresql://", "postgresql//"),
        lambda dsn: dsn.replace(PASSWORD, f"with-an-@{PASSWORD}"),
        lambda dsn: dsn.replace(PASSWORD, f"with-a-%{PASSWORD}"),
        lambda dsn: dsn.replace(PASSWORD, f"with-a-/{PASSWORD}"),
        lambda dsn: f"host=127.0.0.1 password={PASSWORD} and more",
        lambda dsn: dsn.replace(PASSWORD, f"with-a-?{PASSWORD}"),
        lambda dsn: f"{dsn}?passwort={PASSWORD}",
    ],
)
def test_an_address_of_the_database_that_is_wrong_is_told_without_its_password(
    watched: Watched, caplog: pytest.LogCaptureFixture, spoil: Callable[[str], str]
) -> None:
    told = watched.fails(caplog, BOOK_SEARCH_DATABASE_URL=spoil(watched.dsn))

    assert "BOOK_SEARCH_DATABASE_URL" in told
    assert not [secret for secret in SECRETS if secret in told]


def test_an_s3_that_refuses_the_key_or_is_away_tells_it_to_nobody(
    watched: Watched, caplog: pytest.LogCaptureFixture, s3_endpoint: str
) -> None:
    _authenticate(s3_endpoint, after=0)  # from now on keys are looked at
    try:
        lake = {"BOOK_SEARCH_HOME": "s3://no-bucket/home", "BOOK_SEARCH_WORK": str(watched.dagster_home)}
        refused = watched.fails(caplog, **lake, BOOK_SEARCH_S3_ENDPOINT=s3_endpoint)
    finally:
        _authenticate(s3_endpoint, after=10**9)
    away = watched.fails(caplog, **lake, BOOK_SEARCH_S3_ENDPOINT="http://127.0.0.1:9")

    assert "no-bucket" in refused
    assert not [secret for secret in SECRETS if secret in refused + away]


def _authenticate(endpoint: str, after: int) -> None:
    request = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", str(after).encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answered:
        assert json.load(answered)["status"] == "ok"


@pytest.mark.parametrize("name", ["OPEN_LIBRARY_URL", "COVERS_URL", "COVERS_METADATA", "S3_ENDPOINT"])
def test_an_address_with_a_password_in_it_is_refused_without_telling_it(
    watched: Watched, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    told = watched.fails(caplog, **{f"BOOK_SEARCH_{name}": f"https://me:{ASKING}@example.org"})

    assert name.lower() in told.lower()
    assert "leave out" in told
    assert not [secret for secret in SECRETS if secret in told]


def test_a_setting_that_is_wrong_is_told_without_what_was_set(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    told = watched.fails(caplog, BOOK_SEARCH_REQUESTS_PER_MINUTE=TOKEN)

    assert "requests_per_minute" in told.lower()
    assert TOKEN not in told


@pytest.mark.parametrize("command", ["doctor", "run"])
def test_the_command_line_tells_what_is_wrong_and_no_secret(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", watched.dsn.replace(PASSWORD, WRONG_PASSWORD))
    ran = CliRunner().invoke(cli, ["--debug", command])

    assert ran.exit_code == 1
    assert "password authentication failed" in ran.output
    assert not [secret for secret in SECRETS if secret in ran.output + repr(ran.exception)]


def test_nothing_that_dagster_or_the_lake_keeps_holds_a_secret(watched: Watched) -> None:
    """Comes last: after the road and all that failed above."""
    with dg.DagsterInstance.get() as instance:
        failed = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert failed >= 14

    assert holders(watched.dagster_home) == {}
    assert holders(watched.road.home) == {}
    with psycopg.connect(watched.dsn) as opened:
        kept = [
            str(opened.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("book_search", table))).fetchall())
            for table in ("book", "cover", "embedding_model", "index_build", "filter_funnel")
        ]
    assert not [secret for secret in SECRETS for rows in kept if secret in rows]
