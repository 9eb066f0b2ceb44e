"""How rows become equal to others with the fewest writes: staged, compared, the different ones removed and rewritten.

Knows keys, columns and scopes; nothing of what the tables mean. The functions run inside a transaction and work
through a temporary table `wanted`, one at a time.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.copying import copy_rows
from book_search.index.encoding import encoded_array

BATCH_ROWS = 10_000
STALE = 1  # times a table's rows as last analyzed, new or changed: the planner may be off by as much


@dataclass(frozen=True)
class RowChanges:
    """What a load did to a table's rows."""

    inserted: int
    updated: int
    deleted: int
    unchanged: int

    @property
    def changed(self) -> int:
        """Rows written or removed."""
        return self.inserted + self.updated + self.deleted


def replace_rows(
    conn: Connection,
    table: str,
    types: dict[str, str],
    key: tuple[str, ...],
    rows: pa.Table,
    scope: sql.Composable,
    *,
    likely_same: bool = False,
) -> RowChanges:
    """Make the rows of `table` in `scope` (a condition on t) equal to `rows`, comparing all columns.

    Args:
        likely_same: whether to look first if all rows are: a third of the work where they are, lost where not.
    """
    target = sql.Identifier(table)
    if is_empty(conn, target, scope):
        with a_row_once():
            return RowChanges(copy_rows(conn, target, types, rows.to_batches(BATCH_ROWS)), 0, 0, 0)
    if likely_same and is_same(conn, target, types, key, rows, scope):
        return RowChanges(0, 0, 0, rows.num_rows)
    total = stage(conn, target, types, key, rows.to_batches(BATCH_ROWS))
    updated, deleted = remove_different(conn, target, types, key, scope)
    written = conn.execute(
        sql.SQL("INSERT INTO {0} ({1}) SELECT {1} FROM wanted w WHERE NOT EXISTS (SELECT FROM {0} t WHERE {2})").format(
            target, sql.SQL(", ").join(map(sql.Identifier, types)), _same(key, ())
        )
    ).rowcount
    conn.execute("DROP TABLE wanted")
    return RowChanges(written - updated, updated, deleted, total - written)


def is_empty(conn: Connection, target: sql.Composable, scope: sql.Composable) -> bool:
    """Whether the table has no row in `scope`: then there is nothing to compare with."""
    row = conn.execute(sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(target, scope)).fetchone()
    assert row is not None
    return not row[0]


def is_same(
    conn: Connection,
    target: sql.Composable,
    types: dict[str, str],
    key: tuple[str, ...],
    rows: pa.Table,
    scope: sql.Composable,
) -> bool:
    """Whether the rows in `scope` have these values in these columns, bit by bit; nothing is staged for it.

    Args:
        types: the columns, none of them an array.
        rows: some dozens of MB at most: their columns travel as one array each.
    """
    if not rows.num_rows:
        return is_empty(conn, target, scope)
    order = [sql.SQL('{} COLLATE "C"' if types[name] == "text" else "{}").format(sql.Identifier(name)) for name in key]
    statement = sql.SQL("SELECT {} FROM (SELECT {} FROM {} t WHERE {} ORDER BY {}) AS stored").format(
        sql.SQL(", ").join(sql.SQL("array_send(array_agg({}))").format(sql.Identifier(name)) for name in types),
        sql.SQL(", ").join(map(sql.Identifier, types)),
        *(target, scope, sql.SQL(", ").join(order)),
    )
    stored = conn.execute(statement, binary=True).fetchone()
    wanted = rows.sort_by([(name, "ascending") for name in key]).combine_chunks()
    return stored == tuple(encoded_array(wanted.column(name).chunk(0), kind) for name, kind in types.items())


@contextmanager
def a_row_once() -> Iterator[None]:
    """What Postgres says of a key that comes twice, as the ValueError that the loads promise."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise ValueError(f"a row occurs twice: {error.diag.message_detail}") from None


def stage(
    conn: Connection,
    target: sql.Composable,
    types: dict[str, str],
    key: tuple[str, ...],
    batches: Iterable[pa.RecordBatch],
) -> int:
    """Put these columns of the rows wanted into the temporary table `wanted`; returns how many rows there are."""
    columns = sql.SQL(", ").join(map(sql.Identifier, types))
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            columns, target
        )
    )
    rows = copy_rows(conn, sql.Identifier("wanted"), types, batches)
    with a_row_once():
        conn.execute(sql.SQL("ALTER TABLE wanted ADD PRIMARY KEY ({})").format(keys))
    conn.execute("ANALYZE wanted")
    return rows


def remove_different(
    conn: Connection, target: sql.Composable, types: dict[str, str], key: tuple[str, ...], scope: sql.Composable
) -> tuple[int, int]:
    """Delete the rows in `scope` that are not as in `wanted`; returns how many have a successor, and how many none."""
    others = tuple(name for name in types if name not in key)
    statement = sql.SQL(
        """WITH gone AS (
               DELETE FROM {target} t WHERE {scope} AND NOT EXISTS (SELECT FROM wanted w WHERE {same})
               RETURNING EXISTS (SELECT FROM wanted w WHERE {same_key}) AS follows)
           SELECT count(*) FILTER (WHERE follows), count(*) FILTER (WHERE NOT follows) FROM gone"""
    ).format(target=target, scope=scope, same=_same(key, others), same_key=_same(key, ()))
    row = conn.execute(statement).fetchone()
    assert row is not None
    return row[0], row[1]


def missing_keys(conn: Connection, target: sql.Composable, key: str) -> list[object]:
    """The keys of `wanted` that the table does not have."""
    statement = sql.SQL("SELECT w.{key} FROM wanted w WHERE NOT EXISTS (SELECT FROM {target} t WHERE {same})").format(
        key=sql.Identifier(key), target=target, same=_same((key,), ())
    )
    return [row[0] for row in conn.execute(statement).fetchall()]


def _same(key: tuple[str, ...], others: tuple[str, ...]) -> sql.Composable:
    """The condition that rows t and w agree in these columns."""
    equal = [sql.SQL("t.{0} = w.{0}").format(sql.Identifier(name)) for name in key]
    same = [sql.SQL("t.{0} IS NOT DISTINCT FROM w.{0}").format(sql.Identifier(name)) for name in others]
    return sql.SQL(" AND ").join([*equal, *same])


def one_at_a_time(conn: Connection, table: str, part: int) -> None:
    """Wait until no other transaction loads this part of this table."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [f"book_search.{table}", part])


def analyze(conn: Connection, target: sql.Composable, changed: int, detail: int | None = None) -> None:
    """Have the planner know the new rows now, not when autovacuum comes by, if they are a good part of the table.

    Args:
        detail: default_statistics_target, which the time taken goes with; None leaves what the session has.
    """
    if not changed:
        return
    row = conn.execute(
        """SELECT pg_relation_size(oid) > (1 + %(stale)s) * relpages * current_setting('block_size')::bigint
               OR reltuples < 0 OR %(changed)s > %(stale)s * reltuples
           FROM pg_class WHERE oid = %(table)s::regclass""",
        {"stale": STALE, "changed": changed, "table": target.as_string(conn)},
    ).fetchone()
    if row is not None and row[0]:
        with conn.transaction():
            if detail is not None:
                conn.execute("SELECT set_config('default_statistics_target', %s, true)", [str(detail)])
            conn.execute(sql.SQL("ANALYZE {}").format(target))
