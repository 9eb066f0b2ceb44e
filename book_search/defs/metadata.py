"""How results of the library become metadata that a person reads in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

OWNERS = ["team:book-search"]


def table(rows: pa.Table, title_columns: tuple[str, ...] | None = None) -> dg.TableMetadataValue:
    """An Arrow table of some dozen rows, shown as a table."""
    chosen = rows.select(list(title_columns)) if title_columns else rows
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in chosen.to_pylist()]
    kinds = {name: _kind(chosen.schema.field(name).type) for name in chosen.column_names}
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()])
    )


def columns(schema: pa.Schema) -> dg.TableSchema:
    """The columns of a Parquet file, for Dagster's own Columns tab."""
    return dg.TableSchema(
        [
            dg.TableColumn(field.name, str(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable))
            for field in schema
        ]
    )


def counts(named: Mapping[str, int], prefix: str = "") -> dict[str, Any]:
    """Counts by name, one metadata entry each, so that every one gets its plot over time."""
    return {f"{prefix}{name}": int(count) for name, count in sorted(named.items())}


def _cell(value: object) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _kind(kind: pa.DataType) -> str:
    return "int" if pa.types.is_integer(kind) else "float" if pa.types.is_floating(kind) else "string"
