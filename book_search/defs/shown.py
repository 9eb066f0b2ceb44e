"""What each asset shows of itself in the Dagster UI, what a person looks for first coming first.

Numbers are entries of their own, since Dagster draws each over time; tables, pictures and commands stand beside them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from book_search.clip.embeddings import EmbedReport, embeddings_folder
from book_search.clip.model import ModelDescription
from book_search.clip.tag_summary import summarize_tags
from book_search.clip.zero_shot import TagReport, tags_folder
from book_search.cover_ranges import CoverRange
from book_search.defs.history import Earlier
from book_search.defs.metadata import columns, counts, funnel_table, ledger_table, picture, psql, rate, table
from book_search.evaluation.plots import histograms, lines
from book_search.evaluation.report import RelevanceReport
from book_search.index.growth import BuildPoint, TableSize
from book_search.index.history import IndexBuild
from book_search.index.merging import RowChanges
from book_search.lake import Lake
from book_search.openlibrary.catalogue import CatalogueRecord
from book_search.openlibrary.dumps import DumpRecord
from book_search.openlibrary.fetch_report import FetchReport
from book_search.schemas import embeddings

Shown = dict[str, Any]


def shown_of_dump(lake: Lake, dump: DumpRecord, seconds: float) -> Shown:
    """Its date, size and source. `seconds`: that it took to have it."""
    return {
        "dump_date": str(dump.date) if dump.published else "none is published",
        "dagster/uri": lake.uri(dump.path),
        **({} if dump.lines is None else {"dagster/row_count": dump.lines, "records": dump.lines}),
        "bytes": dump.size,
        "seconds": round(seconds, 3),
        "bytes_per_second": rate(dump.size if dump.changed else 0, seconds),
        "downloaded": dump.changed,
        "source": dg.MetadataValue.url(dump.source_url),
        "file": dg.MetadataValue.path(lake.uri(dump.path)),
        "sha256": dump.sha256,
    }


def shown_of_books(lake: Lake, made: CatalogueRecord, seconds: float, ranges: int) -> Shown:
    """The funnel, the filter, what changed. `ranges`: of covers, that the books want something of."""
    editions = made.funnel["rows_in"][0].as_py() if made.funnel.num_rows else 0
    return {
        "funnel": funnel_table(made.funnel),
        "dump_date": str(made.dump_date),
        "dagster/row_count": made.books,
        "dagster/uri": lake.uri(made.path),
        **counts(made.changes, "books_"),
        **counts(made.rejects, "rejected_"),
        "cover_ranges": ranges,
        "bytes": lake.size(made.path),
        "seconds": round(seconds, 3),
        "editions_per_second": rate(editions if made.made else 0, seconds),
        "filter": dg.MetadataValue.json(made.filter),
        "file": dg.MetadataValue.path(lake.uri(made.path)),
    }


def shown_of_covers(lake: Lake, cover_range: CoverRange, report: FetchReport, sheet: str | None) -> Shown:
    """A contact sheet, the ledger, what was asked and how fast. `sheet`: a data URI; None where none may be shown."""
    return {
        **({"some_covers": dg.MetadataValue.md(f"![some covers of the range]({sheet})")} if sheet else {}),
        "ledger": ledger_table(report.statuses),
        "dagster/row_count": sum(report.statuses.values()),
        "dagster/uri": lake.uri(f"covers/{cover_range.key}"),
        **report.as_metadata(),
        "covers_per_second": rate(report.asked, report.seconds),
        "bytes_per_second": rate(report.bytes, report.seconds),
        "psql": psql("select status, count(*) from cover where IN_RANGE group by status order by 2 desc", cover_range),
    }


def shown_of_embeddings(
    lake: Lake, cover_range: CoverRange, report: EmbedReport, description: ModelDescription, vectors: int
) -> Shown:
    """The model, the engine and its rate. `vectors`: covers with one."""
    query = "select count(*) as covers, count(distinct sha256) as pictures from cover where status = 'ok' and IN_RANGE"
    return {
        "model": str(description.identity),
        "dagster/row_count": vectors,
        "dagster/uri": lake.uri(embeddings_folder(description.identity, cover_range)),
        "dagster/column_schema": columns(embeddings(description.dim)),
        **report.as_metadata(),
        "psql": psql(query, cover_range),
    }


def shown_of_tags(lake: Lake, cover_range: CoverRange, report: TagReport, description: ModelDescription) -> Shown:
    """How sure the tags are, as histograms, and which are commonest."""
    summary = summarize_tags(lake, description, cover_range)
    query = (
        "select facet, tag, count(*), round(avg(probability)::numeric, 3) as probability from cover_tag "
        "where IN_RANGE group by facet, tag order by facet, count(*) desc"
    )
    return {
        "probabilities": picture(histograms(summary.probabilities), "how probable the likeliest tags are"),
        "commonest": table(summary.commonest),
        "dagster/row_count": report.tags,
        "dagster/uri": lake.uri(tags_folder(description, cover_range)),
        **report.as_metadata(),
        "tags_per_second": rate(report.tags if report.files_written else 0, report.seconds),
        "psql": psql(query, cover_range),
    }


def shown_of_book_rows(changes: RowChanges, by_dump: Sequence[tuple[Any, int]], seconds: float) -> Shown:
    """What changed, and how many books each dump gave."""
    rows = changes.inserted + changes.updated + changes.unchanged
    return {
        "growth": picture(lines({"books by dump": [(str(day), books) for day, books in by_dump]}), "books by dump"),
        "dagster/row_count": rows,
        **counts(vars(changes), "rows_"),
        "seconds": round(seconds, 3),
        "rows_per_second": rate(rows, seconds),
        "psql": psql("select edition_key, publish_year, title from book order by edition_key limit 10"),
        "psql_funnel": psql(
            "select dump_date, rule, rows_in, rows_out from filter_funnel order by dump_date, position"
        ),
    }


def shown_of_cover_rows(cover_range: CoverRange, changes: Mapping[str, RowChanges], seconds: float) -> Shown:
    """What changed, table by table."""
    rows = sum(each.inserted + each.updated + each.unchanged for each in changes.values())
    return {
        "dagster/row_count": rows,
        **{
            name: number
            for changed, change in changes.items()
            for name, number in counts(vars(change), f"{changed}_").items()
        },
        "seconds": round(seconds, 3),
        "rows_per_second": rate(rows, seconds),
        "psql": psql("select cover_id, status, width, height from cover where IN_RANGE limit 10", cover_range),
    }


def shown_of_index(build: IndexBuild, builds: Sequence[BuildPoint], size: TableSize) -> Shown:
    """Its recall, what it takes on disk, and how both went. `builds`: all of the model, oldest first."""
    over_time = {
        "embeddings": [(f"{each.at:%Y-%m-%d}", float(each.rows)) for each in builds],
        "recall at 10": [(f"{each.at:%Y-%m-%d}", each.recall) for each in builds],
        "seconds": [(f"{each.at:%Y-%m-%d}", each.seconds) for each in builds],
    }
    return {
        "growth": picture(lines(over_time), "embeddings, recall and seconds of each build"),
        "dagster/row_count": build.rows,
        "recall_at_10": build.recall,
        "rebuilt": build.rebuilt,
        "index": build.index_name,
        "bytes_of_index": size.index,
        "bytes_of_table": size.table,
        "seconds": round(build.seconds, 3),
        "rows_per_second": rate(build.rows, build.seconds),
        "builds_so_far": len(builds),
        "psql": psql("select built_at, rebuilt, rows, seconds, recall from index_build order by build desc limit 10"),
    }


def shown_of_report(report: RelevanceReport, before: Sequence[Earlier]) -> Shown:
    """The figures as picture and table, over time, and as JSON for programs. `before`: earlier ones, newest first."""
    now = report.as_metadata()
    over_time = {
        each.name: [
            *((f"{one.at:%Y-%m-%d}", one.metadata[each.name]) for one in reversed(before) if each.name in one.metadata),
            ("now", now[each.name]),
        ]
        for each in report.measures
    }
    return {
        "report": dg.MetadataValue.md(report.as_markdown_with_plot()),
        "history": picture(lines(over_time, (0, 1)), "each measure over time"),
        **now,
        "figures": dg.MetadataValue.json(report.as_dict()),
        "psql": psql("select built_at, rows, recall from index_build order by build desc limit 5"),
    }
