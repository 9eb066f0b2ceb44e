"""The command that makes many ranges of covers again, or for the first time: which ones, in how many runs, and how."""

import sys
import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import dagster as dg

    from book_search.defs.backfill import Span

PARTS = {
    "covers": "covers",
    "embeddings": "cover_embeddings",
    "tags": "cover_tags",
    "vectors": "cover_vectors",
}


@click.command()
@click.option("--all", "every", is_flag=True, help="Every known range. This is the default.")
@click.option("--from", "first", metavar="RANGE", help="From this range on, such as 0009_9.")
@click.option("--to", "last", metavar="RANGE", help="Up to this range, itself included.")
@click.option("--only-missing", is_flag=True, help="Those alone that were never made, or failed when last tried.")
@click.option("--resume", is_flag=True, help="Without what the last backfill has finished.")
@click.option(
    "--assets",
    metavar="NAME[,NAME...]",
    help=f"What is made of each range: {', '.join(PARTS)}. Default: all four.",
)
@click.option("--ranges-per-run", type=click.IntRange(min=1), metavar="N", help="Default: 20. A run costs seconds.")
@click.option("--dry-run", is_flag=True, help="Print the runs, and run none.")
@click.option("--queue", is_flag=True, help="Have the daemon of `dagster dev` run them, and do not wait.")
def backfill(
    every: bool,
    first: str | None,
    last: str | None,
    only_missing: bool,
    resume: bool,
    assets: str | None,
    ranges_per_run: int | None,
    dry_run: bool,
    queue: bool,
) -> None:
    """Make the covers, embeddings, tags and database rows of many ranges, in few runs.

    A range is 100,000 cover ids: 0014_6 stands for 14,600,000 to 14,699,999. `books` makes them known. What is
    current within a range is left alone: no cover that is here is asked for again, no vector computed twice.

    \b
    book-search backfill                          every range, twenty a run
    book-search backfill --only-missing           what was never made, or failed when last tried
    book-search backfill --from 0009_9 --to 0010_4 --assets embeddings,tags,vectors
    book-search backfill --dry-run                the runs that it would be
    book-search backfill --resume                 after Ctrl-C or a kill: what the last one left

    It needs no daemon and no web server. A range that fails does not stop the others; it is run once more alone,
    its error is told at the end, with the command that tries it again, and the exit code is 1. Where three fail in
    a row, the rest is not tried. Afterwards `book-search run` builds the index over what came.

    With --queue the same is done by the daemon, as the asset backfill that "Materialize" makes in the Dagster UI,
    where its progress is seen.
    """
    if every and (first or last):
        raise click.UsageError("--all, or --from and --to")
    if queue and (resume or ranges_per_run):
        raise click.UsageError(
            "with --queue the daemon's own count of ranges a run holds: no --ranges-per-run, --resume"
        )
    names = _assets(assets)
    from book_search.cli.road import ensure_dagster_home
    from book_search.cli.stages import show_log_lines, wide_console

    ensure_dagster_home()
    import dagster as dg

    from book_search.defs.backfill import RANGES_A_RUN, finished_by, last_backfill, missing_or_failed, plan_runs

    with dg.DagsterInstance.get() as instance:
        known = instance.get_dynamic_partitions("cover_range")
        keys = _between(known, first, last)
        if only_missing:
            keys = missing_or_failed(instance, keys, names)
        named = None
        if resume:
            if (named := last_backfill(instance)) is None:
                raise click.ClickException("there is no backfill to go on with: leave out --resume")
            done = finished_by(instance, named, names)
            keys = [key for key in keys if key not in done]
        spans = plan_runs(known, set(keys), ranges_per_run or RANGES_A_RUN)
        if not spans:
            click.echo("nothing is left to do" if known else "no range is known: run the job refresh_catalogue")
            return
        click.echo(f"{len(keys):,} ranges of {len(known):,} in {len(spans):,} runs: {', '.join(names)}")
        if dry_run:
            for number, span in enumerate(spans, 1):
                click.echo(f"  run {number}: {_shown(span)}")
            return
        if queue:
            _queue(instance, keys, names)
            return
        show_log_lines(wide_console())
        failed = _run(instance, spans, names, named or uuid.uuid4().hex[:8])
    if failed:
        _tell(failed, assets, known)
        sys.exit(1)


def _run(
    instance: "dg.DagsterInstance", spans: "Sequence[Span]", names: Sequence[str], named: str
) -> dict[str, Exception]:
    """Run the spans here, telling of each; returns the errors by range."""
    from book_search.definitions import defs
    from book_search.defs.backfill import run_spans

    total, done = sum(map(len, spans)), 0
    failed: dict[str, Exception] = {}
    try:
        for outcome in run_spans(defs, instance, spans, assets=names, backfill=named):
            done += len(outcome.finished)
            failed |= outcome.failed
            if outcome.finished:
                word, keys = "done", outcome.finished
            elif outcome.failed:
                word, keys = "FAILED", tuple(outcome.failed)
            else:
                continue  # its ranges are run again, without the bad one
            click.echo(f"  {word} {_shown(keys)} in {outcome.seconds:.1f} s; {done:,} of {total:,} ranges done")
    except BaseException:
        click.echo(f"{done:,} of {total:,} ranges are done; the same command with --resume goes on", err=True)
        raise
    return failed


def _queue(instance: "dg.DagsterInstance", keys: Sequence[str], names: Sequence[str]) -> None:
    from book_search.definitions import defs
    from book_search.defs.backfill import daemon_is_there, hand_to_daemon

    click.echo(f"backfill {hand_to_daemon(defs, instance, keys, names)} is left for the daemon; the UI shows it")
    if not daemon_is_there(instance):
        click.echo("no daemon has been heard of: it starts with `dagster dev`, or `dagster-daemon run`", err=True)


def _tell(failed: dict[str, Exception], assets: str | None, known: Sequence[str]) -> None:
    """What failed, each with its reason, and how to try it again."""
    from book_search.cli.main import told
    from book_search.defs.backfill import NotTriedError, plan_runs

    untried = [key for key, error in failed.items() if isinstance(error, NotTriedError)]
    click.echo(f"{len(failed) - len(untried):,} ranges failed:", err=True)
    for key, error in failed.items():
        if key not in untried:
            click.echo(f"  {key}: {told(error)}", err=True)
    if untried:
        click.echo(f"{len(untried):,} more, {_shown(untried)}, were {told(failed[untried[0]])}", err=True)
    spans = plan_runs(known, set(failed), len(failed))
    chosen = f" --assets {assets}" if assets else ""
    again = f"--from {spans[0][0]} --to {spans[0][-1]}" if len(spans) == 1 else "--only-missing"
    click.echo(f"Try them again: book-search backfill {again}{chosen}", err=True)


def _assets(said: str | None) -> list[str]:
    """The assets by their short names or their own, in the order of the road."""
    asked = {name.strip() for name in (said or ",".join(PARTS)).split(",") if name.strip()}
    if not asked:
        raise click.UsageError(f"--assets names none of {', '.join(PARTS)}")
    if unknown := sorted(asked - set(PARTS) - set(PARTS.values())):
        raise click.UsageError(f"--assets {unknown[0]} is none of {', '.join(PARTS)}")
    return [name for short, name in PARTS.items() if short in asked or name in asked]


def _between(known: Sequence[str], first: str | None, last: str | None) -> list[str]:
    """The known ranges from `first` to `last`, by their numbers. Raises UsageError where that can be none."""
    from book_search.cover_ranges import CoverRange

    try:
        low, high = (CoverRange.parse(key) if key else None for key in (first, last))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if low is not None and high is not None and low > high:
        raise click.UsageError(f"--from {first} lies after --to {last}")
    ranges = [CoverRange.parse(key) for key in known]
    some = [each.key for each in ranges if (low is None or each >= low) and (high is None or each <= high)]
    if ranges and not some:
        raise click.UsageError(f"no known range lies there: they go from {min(ranges).key} to {max(ranges).key}")
    return some


def _shown(keys: Collection[str]) -> str:
    ordered = list(keys)
    if len(ordered) == 1:
        return ordered[0]
    return f"{ordered[0]} to {ordered[-1]} ({len(ordered)} ranges)"
