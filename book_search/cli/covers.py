"""Commands on the covers: what fetching them will cost, and trying again what failed."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from book_search.cover_ranges import CoverRange
    from book_search.lake import Lake
    from book_search.openlibrary.ledger import LedgerRow, Status
    from book_search.openlibrary.plan import Cost, CoversPlan
    from book_search.openlibrary.roads import Road

NAMES: dict["Road", str] = {"by_id": "by id", "bulk_whole": "by whole zips", "bulk_members": "by zips' members"}


@click.group()
def covers() -> None:
    """Plan the fetching of covers, or try again those that failed.

    \b
    What it will cost, before anything is asked:   book-search covers plan
    Ask again for what failed:                     book-search covers retry --status gave_up,not_an_image

    The covers themselves are fetched by `book-search run`, or by the asset `covers` in the Dagster UI.
    """


@covers.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, a batch of 10,000 cover ids at a time.")
def plan(as_json: bool) -> None:
    """Compute what the covers that are still wanted will cost: requests, bytes, hours, by range and by road.

    Nothing is asked for it: it reads the chosen books and the ledger. Covers are had one by one from the covers
    server, or, where more than BOOK_SEARCH_BULK_SHARE of an archive batch of 10,000 is wanted, from the Internet
    Archive's zip of that batch, whole or by its members, whichever is cheaper. A request counts as its turn at
    BOOK_SEARCH_REQUESTS_PER_MINUTE, a byte as its time at 2.5 MB a second, a cover as the mean of its size. The
    rows at the end compare the roads: what is chosen, and what each would cost for everything.

    \b
    BOOK_SEARCH_COVERS_ROAD=bulk_members book-search covers plan
    shows the plan with a road forced.
    """
    found = _plan()
    if as_json:
        for batch in found.batches:
            cost = {name: getattr(batch.choice, name) for name in ("road", "requests", "bytes", "seconds", "why")}
            counts = {"wanted": batch.wanted, "settled": batch.settled, "settled_by_dump": batch.by_dump}
            click.echo(json.dumps({"batch": batch.key, **counts, "left": batch.left, **(cost if batch.choice else {})}))
        return
    from book_search.cli.stages import wide_console
    from book_search.settings import load_settings

    console, settings = wide_console(), load_settings()
    console.print(ranges_table(found))
    console.print(
        f"{found.wanted:,} covers wanted, {found.settled:,} settled by the ledger, {found.by_dump:,} by the dump"
    )
    console.print(
        roads_table(found, f"At {settings.requests_per_minute:g} requests a minute, size {settings.cover_size}")
    )


@covers.command()
@click.option(
    "--status",
    "statuses",
    required=True,
    metavar="STATUS[,STATUS...]",
    help="gave_up, not_an_image, missing, placeholder, too_large, undecodable, blocked_host or ok.",
)
def retry(statuses: str) -> None:
    """Ask again now for the covers of these statuses, due or not, and for no others that are settled.

    \b
    book-search covers retry --status gave_up
    book-search covers retry --status gave_up,not_an_image

    It runs the asset `covers` on each range that has such covers, with `retry_statuses` in its run configuration,
    which is how to do the same in the Dagster UI. A picture that is here is not given up for a failed try.
    `book-search run` then carries what came to the search.
    """
    from book_search.cli import configured
    from book_search.cli.road import ensure_dagster_home
    from book_search.cli.stages import show_log_lines, wide_console
    from book_search.openlibrary.ledger import known_statuses

    asked = known_statuses(name.strip() for name in statuses.split(",") if name.strip())
    if not asked:
        raise click.UsageError("--status names no status; write one such as gave_up")
    lake = configured.lake()
    before = {each.key: _count(lake, each, asked) for each in _ranges(lake)}
    keys = [key for key, count in before.items() if count]
    if not keys:
        click.echo(f"no cover is {' or '.join(asked)}")
        return
    ensure_dagster_home()
    console = wide_console()
    show_log_lines(console)
    console.print(f"{sum(before.values()):,} covers are asked for again; ranges: {len(keys)}")
    import dagster as dg

    from book_search.cover_ranges import CoverRange
    from book_search.definitions import defs
    from book_search.defs.run import retry_covers

    with dg.DagsterInstance.get() as instance:
        for asset in retry_covers(defs, instance, keys, asked):
            console.print(f"  [green]done[/green] {asset.name:<18} {asset.seconds:6.1f} s")
    left = sum(_count(lake, CoverRange.parse(key), asked) for key in keys)
    console.print(f"{left:,} covers are {' or '.join(asked)} now; book-search run carries what came to the search")


def ranges_table(plan: "CoversPlan") -> "Table":
    """The plan by range: what is left to ask for, by which roads, and what that costs."""
    from rich.table import Table

    table = Table("range", title="Covers to be fetched", title_justify="left")
    for column in ("wanted", "settled", "left", "batches", "requests", "GB", "hours"):
        table.add_column(column, justify="right")
    for cover_range, part in plan.by_range().items():
        if part.left:
            roads = ", ".join(f"{count} {NAMES[road]}" for road, count in part.roads.items())
            counts = (f"{count:,}" for count in (part.wanted, part.settled + part.by_dump, part.left))
            table.add_row(cover_range.key, *counts, roads, *_cost(part.chosen))
    return table


def roads_table(plan: "CoversPlan", title: str) -> "Table":
    """The plan's sums: as chosen, and as they would be by each road alone."""
    from rich.table import Table

    table = Table("all ranges", title=title, title_justify="left")
    for column in ("covers", "requests", "GB", "hours"):
        table.add_column(column, justify="right")
    table.add_row("as planned", f"{plan.left:,}", *_cost(plan.chosen), style="bold")
    for road, name in NAMES.items():
        where = "" if road == "by_id" else ", where there are any"
        table.add_row(f"all {name}{where}", f"{plan.left:,}", *_cost(plan.by(road)))
    return table


def _plan() -> "CoversPlan":
    """The plan of all ranges, from the lake alone."""
    from book_search.cli import configured
    from book_search.cover_ranges import batch_key
    from book_search.openlibrary.catalogue import wanted_covers
    from book_search.openlibrary.cover_parts import read_stored
    from book_search.openlibrary.http import user_agent
    from book_search.openlibrary.metadata_dump import known_covers
    from book_search.openlibrary.plan import CoversPlan, plan_covers
    from book_search.settings import load_settings

    settings, lake = load_settings(), configured.lake()
    wanted = {each: wanted_covers(lake, each) for each in _ranges(lake)}
    known, address = None, settings.covers_metadata
    if address:
        every = [cover_id for ids in wanted.values() for cover_id in ids]
        known = known_covers(lake, address, user_agent(settings.contact), every, ask=False)
    plan = CoversPlan()
    for ids in wanted.values():
        ledger: dict[int, LedgerRow] = {}
        for batch in sorted({batch_key(cover_id) for cover_id in ids}):
            ledger |= read_stored(lake, batch).rows
        plan += plan_covers(ids, ledger, configured.road_rule(), settings.cover_size, datetime.now(UTC), known=known)
    return plan


def _ranges(lake: "Lake") -> "list[CoverRange]":
    from book_search.openlibrary.catalogue import wanted_ranges

    try:
        return wanted_ranges(lake)
    except FileNotFoundError as error:
        raise click.ClickException("no books are chosen yet: book-search run, or the job refresh_catalogue") from error


def _count(lake: "Lake", cover_range: "CoverRange", statuses: "Sequence[Status]") -> int:
    from book_search.openlibrary.cover_files import read_ledger

    return sum(status in statuses for status in read_ledger(lake, cover_range)["status"].to_pylist())


def _cost(cost: "Cost") -> tuple[str, str, str]:
    return f"{cost.requests:,}", f"{cost.bytes / 1e9:,.1f}", f"{cost.seconds / 3600:,.1f}"
