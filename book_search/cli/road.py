"""Commands along the road: run it, and ask at which stage a book left it."""

import os
from datetime import UTC, datetime

import click


@click.command()
def run() -> None:
    """Run the whole road once: dumps, books, covers, embeddings, tables, index, report.

    What is current is left alone, so a second run takes seconds. It needs no daemon and no web server; the same
    jobs stand in the Dagster UI (`dagster dev`), where they can be run one by one, on a schedule or by sensors.
    """
    from book_search.cli.health import examine
    from book_search.cli.stages import run_stages

    # A setting that is wrong is told now, not by the stage that comes to need it after an hour.
    if wrong := [finding for finding in examine() if not finding.good]:
        raise click.ClickException("; ".join(f"{finding.what}: {finding.says}" for finding in wrong))
    ensure_dagster_home()
    try:
        run_stages()
    finally:
        if told := covers_left():
            click.echo(told)


def covers_left() -> str:
    """How many covers are still to be asked for, and when to run again; nothing where none is."""
    from book_search.cli import configured
    from book_search.openlibrary.catalogue import wanted_by_range
    from book_search.openlibrary.left import Left, left_of

    now, lake = datetime.now(UTC), configured.lake()
    try:
        wanted = wanted_by_range(lake)
    except FileNotFoundError:
        return ""
    left = Left.of(left_of(lake, each, ids, now) for each, ids in wanted.items())
    window = configured.off_peak()
    if left.now:
        when = "" if window is None or window.contains(now) else f" after {window.opens(now):%Y-%m-%d %H:%M %Z}"
        return f"{left.now:,} covers are left to be asked for: run this again{when}"
    if left.next_try is not None:
        when = f"{left.next_try.astimezone():%Y-%m-%d %H:%M}"
        return f"{left.later:,} covers could not be had now and are asked for again by runs after {when}"
    return ""


def ensure_dagster_home() -> None:
    """Have Dagster remember runs beside the lake, where DAGSTER_HOME names no folder."""
    from book_search.instance import prepare_dagster_home
    from book_search.settings import load_settings

    if "DAGSTER_HOME" not in os.environ:
        home = load_settings().work_folder / "dagster"
        prepare_dagster_home(home)
        os.environ["DAGSTER_HOME"] = str(home)
        click.echo(f"Dagster keeps this run in {home}: export DAGSTER_HOME={home} before `dagster dev` to see it")


@click.command()
@click.argument("edition_key", metavar="OL123M")
def why(edition_key: str) -> None:
    """Tell why a book is found, or by which rule or at which stage it left the road."""
    from book_search.cli.stages import explain
    from book_search.search.query import parse_edition_key

    for line in explain(parse_edition_key(edition_key)):
        click.echo(line)
