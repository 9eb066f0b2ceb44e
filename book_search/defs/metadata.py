"""How results of the library become metadata that a person reads in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from book_search.cover_ranges import CoverRange
from book_search.defs.column_words import DESCRIPTIONS
from book_search.evaluation.plots import data_uri

OWNERS = ["team:book-search"]
BREAKS_OUT = frozenset('"$`\\!\n')  # of a shell's double quotes, in which a psql command's SQL stands


def table(rows: pa.Table, title_columns: tuple[str, ...] | None = None) -> dg.TableMetadataValue:
    """An Arrow table of some dozen rows, shown as a table."""
    chosen = rows.select(list(title_columns)) if title_columns else rows
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in chosen.to_pylist()]
    kinds = {name: _kind(chosen.schema.field(name).type) for name in chosen.column_names}
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()])
    )


def funnel_table(funnel: pa.Table) -> dg.TableMetadataValue:
    """The funnel of a catalogue (schemas.FUNNEL): what each rule cost, and what of the dump was left after it."""
    dropped = pc.subtract(funnel["rows_in"], funnel["rows_out"])
    first = max(funnel["rows_in"][0].as_py(), 1) if funnel.num_rows else 1
    left = pc.round(pc.divide(pc.cast(funnel["rows_out"], pa.float64()), first), 4)
    shown = funnel.select(["rule", "rows_in", "rows_out"])
    return table(shown.append_column("dropped", dropped).append_column("left_of_dump", left))


def ledger_table(statuses: Mapping[Any, int]) -> dg.TableMetadataValue:
    """Covers by the status that the ledger gives them, the commonest first, with their shares."""
    covers = sum(statuses.values())
    rows = [
        {"status": status, "covers": count, "share": round(count / covers, 4)}
        for status, count in sorted(statuses.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    kinds = [("status", pa.string()), ("covers", pa.int64()), ("share", pa.float64())]
    return table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)))


def columns(schema: pa.Schema) -> dg.TableSchema:
    """The columns of a Parquet file and what they are, for Dagster's own Columns tab."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                DESCRIPTIONS.get(field.name),
                dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def counts(named: Mapping[str, int], prefix: str = "") -> dict[str, Any]:
    """Counts by name, one metadata entry each, so that every one gets its plot over time."""
    return {f"{prefix}{name}": int(count) for name, count in sorted(named.items())}


def rate(done: float, seconds: float) -> float:
    """How much of something was done a second; 0 where nothing was."""
    return round(done / seconds, 1) if done and seconds else 0.0


def picture(svg: str, says: str) -> dg.MarkdownMetadataValue:
    """A plot, shown in place. `says`: what those hear who cannot see it."""
    return dg.MetadataValue.md(f"![{says}]({data_uri(svg)})")


def psql(query: str, cover_range: CoverRange | None = None) -> dg.MarkdownMetadataValue:
    """A command that shows rows when it is pasted into a shell.

    Args:
        query: SQL; `IN_RANGE` in it stands for the covers of `cover_range`.

    Raises:
        ValueError: the query holds what a shell reads even in double quotes.
    """
    if cover_range is not None:
        query = query.replace("IN_RANGE", f"cover_id between {cover_range.first} and {cover_range.end - 1}")
    if broken := sorted(BREAKS_OUT & set(query)):
        raise ValueError(f"{query!r} cannot be pasted into a shell: it holds {broken}")
    return dg.MetadataValue.md(f'`book-search psql -c "{query}"`')


def _cell(value: object) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _kind(kind: pa.DataType) -> str:
    return "int" if pa.types.is_integer(kind) else "float" if pa.types.is_floating(kind) else "string"
