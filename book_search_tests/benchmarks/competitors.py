"""Ways to choose editions from a dump, each for a process of its own: ours, and those it is measured against.

    python -m book_search_tests.benchmarks.competitors NAME FOLDER

Each prints how many editions it kept. All but Spark's apply the default filter's rules on editions (title, language,
cover, pages, years) in the plainest words of their tool; Spark's applies the published system's filter.
"""

import gzip
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

YEAR = r"(?:^|[^0-9])((?:1[4-9]|20)[0-9]{2})(?:$|[^0-9])"
FIRST_YEAR, LAST_YEAR, PAGES_OVER = 2016, 2026, 100
DUMP_DATE = date(LAST_YEAR, 10, 31)
MEMORY_LIMIT = "600MB"


def ours_check(folder: Path) -> int:
    """What taking in a dump of editions reads through, once: gzip, sha256, and every record's JSON; the rejects."""
    import hashlib

    from book_search.openlibrary.records import check_dump

    found = check_dump(
        _dump(folder, "editions"), "editions", folder / "work", MEMORY_LIMIT, on_read=hashlib.sha256().update
    )
    return len(found.rejects)


def ours_editions(folder: Path) -> int:
    """Our pass over the editions alone, of a dump that was checked when it was taken in and has no rejects."""
    from book_search.openlibrary.rules import CatalogueFilter, rules_of
    from book_search.openlibrary.selection import open_selection

    rules = rules_of(CatalogueFilter(), DUMP_DATE)
    with open_selection(rules, folder / "work", MEMORY_LIMIT) as selection:
        steps = selection.run({"editions": _dump(folder, "editions")}, DUMP_DATE, known={"editions": ()})
        return next(rows_out for rule, _, rows_out in steps if rule.startswith("more than"))


def ours_stage(folder: Path) -> int:
    """Our whole stage: editions, redirects, works, authors, joins, Parquet."""
    from book_search.openlibrary.catalogue import build_books
    from book_search.openlibrary.rules import CatalogueFilter

    dumps = {kind: _dump(folder, kind) for kind in ("editions", "works", "authors", "redirects")}
    known = dict.fromkeys(dumps, ())
    return build_books(dumps, DUMP_DATE, CatalogueFilter(), folder / "work", MEMORY_LIMIT, known=known).rows


def naive_duckdb(folder: Path) -> int:
    """DuckDB's own gunzip and one json_extract a field."""
    import duckdb

    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in ("type", "key", "revision", "modified", "json"))
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(f"{scratch}/naive.duckdb") as connection:
        (row,) = connection.execute(
            f"""SELECT count(*) FROM read_csv($path, delim = '\t', quote = '', escape = '', comment = '',
                header = false, auto_detect = false, max_line_size = 16777216, buffer_size = 16777216,
                columns = {{{columns}}})
            WHERE json_extract_string(json, '$.title') <> ''
            AND list_contains(CAST(json_extract_string(json, '$.languages[*].key') AS VARCHAR[]), '/languages/eng')
            AND TRY_CAST(json_extract_string(json, '$.covers[0]') AS BIGINT) > 0
            AND TRY_CAST(json_extract_string(json, '$.number_of_pages') AS BIGINT) > {PAGES_OVER}
            AND TRY_CAST(regexp_extract(json_extract_string(json, '$.publish_date'), '{YEAR}', 1) AS INTEGER)
                BETWEEN {FIRST_YEAR} AND {LAST_YEAR}""",  # noqa: S608 (constants of ours)
            {"path": str(_dump(folder, "editions"))},
        ).fetchall()
        return int(row[0])


def polars(folder: Path) -> int:
    """Polars' lazy reader of CSV, streaming, and one json_path_match a field."""
    import polars as pl

    record = pl.col("column_4")
    year = record.str.json_path_match("$.publish_date").str.extract(YEAR, 1).cast(pl.Int32, strict=False)
    pages = record.str.json_path_match("$.number_of_pages").cast(pl.Int64, strict=False)
    chosen = (
        pl.scan_csv(_dump(folder, "editions"), separator="\t", quote_char=None, has_header=False, infer_schema=False)
        .filter(
            (record.str.json_path_match("$.title").str.len_bytes() > 0)
            & record.str.json_path_match("$.languages").str.contains("/languages/eng", literal=True)
            & (record.str.json_path_match("$.covers[0]").cast(pl.Int64, strict=False) > 0)
            & (pages > PAGES_OVER)
            & year.is_between(FIRST_YEAR, LAST_YEAR)
        )
        .select(pl.len())
    )
    return int(chosen.collect(engine="streaming").item())


def plain_python(folder: Path) -> int:
    """gzip, and orjson on every line."""
    import orjson

    kept = 0
    year_of = re.compile(YEAR)
    with gzip.open(_dump(folder, "editions")) as lines:
        for line in lines:
            record: dict[str, Any] = orjson.loads(line.split(b"\t", 4)[4])
            year = year_of.search(record.get("publish_date", ""))
            pages = record.get("number_of_pages")
            kept += bool(
                record.get("title")
                and any(language["key"] == "/languages/eng" for language in record.get("languages", ()))
                and any(cover and cover > 0 for cover in record.get("covers", ()))
                and isinstance(pages, int)
                and pages > PAGES_OVER
                and year
                and FIRST_YEAR <= int(year[1]) <= LAST_YEAR
            )
    return kept


def pyspark(folder: Path) -> int:
    """Spark in local mode with the published filter: English, "fiction", not for children, 100 pages, from 2010."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    shape = (
        "title STRING, languages ARRAY<STRUCT<key: STRING>>, subjects ARRAY<STRING>, number_of_pages INT, "
        "publish_date STRING"
    )
    record = f.from_json(f.split("value", "\t", 5)[4], shape)
    subjects = f.lower(f.array_join("record.subjects", ";"))
    chosen = (
        spark.read.text(str(_dump(folder, "editions")))
        .select(record.alias("record"))
        .where(f.array_contains(f.col("record.languages.key"), "/languages/eng"))
        .where(subjects.contains("fiction") & ~subjects.contains("juvenile") & ~subjects.contains("children"))
        .where(f.col("record.number_of_pages") >= 100)
        .where(f.expr("try_cast(regexp_extract(record.publish_date, '([0-9]{4})', 1) AS INT)") >= 2010)
    )
    kept = int(chosen.count())
    spark.stop()
    return kept


COMPETITORS: dict[str, Callable[[Path], int]] = {
    "ours-check": ours_check,
    "ours-editions": ours_editions,
    "ours-stage": ours_stage,
    "duckdb": naive_duckdb,
    "polars": polars,
    "orjson": plain_python,
    "pyspark": pyspark,
}


def _dump(folder: Path, kind: str) -> Path:
    (path,) = folder.glob(f"ol_dump_{kind}_*.txt.gz")
    return path


if __name__ == "__main__":
    print(COMPETITORS[sys.argv[1]](Path(sys.argv[2])))
