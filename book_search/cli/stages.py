"""The road seen from the command line: running its stages with their times, and what came of them."""

import logging
import time

import psycopg
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from book_search.cli import configured

WIDE = 120


def wide_console() -> Console:
    """Where tables are printed: the terminal, or a pipe, which has no width of its own and gets a generous one."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def show_log_lines(console: Console) -> None:
    """Print the library's own log lines: progress with rates, and what a person should know."""
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%X", markup=False)
    logger = logging.getLogger("book_search")
    logger.handlers = [handler]
    logger.propagate = False


def run_stages(console: Console | None = None) -> None:
    """Run the whole road in this process, telling of each asset and its seconds as its job ends.

    Raises:
        dg.DagsterExecutionStepExecutionError: a step failed; what was finished before it stays.
    """
    console = console or wide_console()
    show_log_lines(console)
    console.print("[dim]loading Dagster ...[/dim]")
    import dagster as dg

    from book_search.definitions import defs
    from book_search.defs.run import run_road

    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        for asset in run_road(defs, instance):
            console.print(f"  [green]done[/green] {asset.name:<18} {asset.seconds:6.1f} s")
    console.print(f"  the whole road {time.monotonic() - started:17.1f} s")


def funnel_table(connection: psycopg.Connection) -> Table:
    """The filter's funnel of the newest dump: each rule in its order, with the rows that came and stayed."""
    table = Table("rule", title="From the dump to the books", title_justify="left")
    table.add_column("rows in", justify="right")
    table.add_column("rows out", justify="right")
    query = (
        "select rule, rows_in, rows_out from filter_funnel"
        " where dump_date = (select max(dump_date) from filter_funnel) order by position"
    )
    for rule, rows_in, rows_out in connection.execute(query):
        table.add_row(rule, f"{rows_in:,}", f"{rows_out:,}")
    return table


def ledger_table(connection: psycopg.Connection) -> Table:
    """The covers by status."""
    table = Table("status", title="The ledger of covers", title_justify="left")
    table.add_column("covers", justify="right")
    for status, covers in connection.execute("select status, count(*) from cover group by status order by 2 desc"):
        table.add_row(status, f"{covers:,}")
    return table


def explain(edition_key: str) -> list[str]:
    """Where on the road an edition is, a line a stage: the filter's rules, its cover, its vector, the index.

    Raises:
        LookupError: the dumps hold no such edition.
        DumpError: there are no dumps yet.
    """
    from book_search.openlibrary.rules import CatalogueFilter
    from book_search.openlibrary.why import why_in_lake
    from book_search.settings import load_settings

    verdicts = why_in_lake(configured.lake(), edition_key, CatalogueFilter.from_settings(load_settings()))
    lines = [f"{'yes' if each.passed else 'NO '}  {each.rule}: {each.explanation}" for each in verdicts]
    dropped = next((each for each in verdicts if not each.passed), None)
    if dropped is not None:
        return [*lines, f"{edition_key} left the road at the rule: {dropped.rule}"]
    with configured.connection() as connection:
        return [*lines, *_stages_in_database(connection, edition_key)]


def _stages_in_database(connection: psycopg.Connection, edition_key: str) -> list[str]:
    if connection.execute("select to_regclass('book')").fetchone() == (None,):
        return [f"{edition_key} passes the filter, but no book is in the database yet: book-search run"]
    row = connection.execute(
        """select b.cover_id, c.status, c.source_url, e.cover_id is not null
           from book b left join cover c using (cover_id)
           left join cover_embedding e on e.cover_id = b.cover_id
                and e.model = (select model from embedding_model where active)
           where b.edition_key = %s""",
        [edition_key],
    ).fetchone()
    if row is None:
        return [f"{edition_key} passes the filter, but is not in the database yet: book-search run"]
    cover_id, status, url, embedded = row
    lines = ["yes  it is in the table book"]
    if cover_id is None:
        return [*lines, f"NO   {edition_key} has no cover: it is found by words alone"]
    if status is None:
        return [*lines, f"NO   its cover {cover_id} has not been asked for yet: book-search run"]
    if status != "ok":
        return [*lines, f"NO   its cover {cover_id} could not be had: {status} ({url}); it is found by words alone"]
    lines.append(f"yes  its cover {cover_id} was fetched from {url}")
    if not embedded:
        return [*lines, f"NO   its cover {cover_id} has no vector of the active model: book-search run"]
    return [*lines, "yes  its cover has a vector in the index", f"{edition_key} is on the road to its end: it is found"]
