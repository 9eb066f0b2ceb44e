"""What a road came to, as digests that can be compared: every file of the lake, every table's rows, Dagster's runs.

What two roads to the same end may differ in is left out: times (columns of type timestamptz, `fetched_at`), serial
numbers (identity columns), how often a cover was asked for (`attempts`, `next_try`), and histories of what was done on
the way (`index_build` but for its last row's model and rows, `embedding_model.rows_changed`, what `books.json` tells
of the catalogue before).
"""

import hashlib
import json
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
from psycopg import sql

from book_search.index.connection import SCHEMA, connect

APART = {"postgres", "dagster", "model"}  # folders of a home that are compared by what they hold, or not the road's
NOT_THE_SAME = {"attempts", "next_try", "fetched_at", "changes"}
UNFINISHED = [status for status in dg.DagsterRunStatus if status.value not in ("SUCCESS", "FAILURE", "CANCELED")]


def files_of(home: Path) -> dict[str, str]:
    """A digest of every file under a home but Postgres' and Dagster's, by path: what is left over is seen as well."""
    paths = [path for path in home.rglob("*") if path.is_file() and path.relative_to(home).parts[0] not in APART]
    return {str(path.relative_to(home)): _digest(path) for path in sorted(paths)}


def rows_of(dsn: str) -> dict[str, str]:
    """A digest of every table's rows in order, by the table's name, with their number."""
    found = {}
    with connect(dsn) as connection:
        columns = connection.execute(
            """SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.atttypid <> 'timestamptz'::regtype AND a.attidentity = ''
                   AND NOT (c.relname, a.attname::text) IN (('embedding_model', 'rows_changed'))
               GROUP BY 1""",
            [SCHEMA],
        ).fetchall()
        for table, names in columns:
            if table == "index_build":
                query: sql.SQL | sql.Composed = sql.SQL(
                    "SELECT model, rows FROM index_build ORDER BY build DESC LIMIT 1"
                )
            else:
                listed = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
                query = sql.SQL("SELECT {0} FROM {1} ORDER BY {0}").format(listed, sql.Identifier(table))
            rows = connection.execute(query).fetchall()
            found[table] = f"{len(rows)} rows {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"
        (indexes,) = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE schemaname = %s AND indexdef LIKE '%%hnsw%%'", [SCHEMA]
        ).fetchone() or (None,)
        (invalid,) = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() or (None,)
    return found | {"hnsw indexes": str(indexes), "invalid indexes": str(invalid)}


def held_of(dagster_home: Path) -> dict[str, object]:
    """What Dagster believes to be going on: runs that have not ended, and the pools' slots with who holds them."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        runs = {run.run_id: run.status.value for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))}
        storage = instance.event_log_storage
        slots = {}
        for key in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(key)
            slots[key] = sorted([*info.claimed_slots, *info.pending_steps], key=repr)
    return {"runs": runs} | {key: held for key, held in slots.items() if held}


def _digest(path: Path) -> str:
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None)
        kept = [name for name in table.column_names if name not in NOT_THE_SAME]
        content = repr((table.schema.metadata, table.select(kept).to_pylist())).encode()
    elif path.suffix == ".json":
        known = json.loads(path.read_bytes())
        content = json.dumps({name: known[name] for name in known if name not in NOT_THE_SAME}).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]
