"""Commands along the road: run it, and ask at which stage a book left it."""

import os

import click


@click.command()
def run() -> None:
    """Run the whole road once: dumps, books, covers, embeddings, tables, index, report.

    What is current is left alone, so a second run takes seconds. It needs no daemon and no web server; the same
    jobs stand in the Dagster UI (`dagster dev`), where they can be run one by one, on a schedule or by sensors.
    """
    from book_search.cli.health import examine
    from book_search.cli.stages import run_stages
    from book_search.instance import prepare_dagster_home
    from book_search.settings import load_settings

    # A setting that is wrong is told now, not by the stage that comes to need it after an hour.
    if wrong := [finding for finding in examine() if not finding.good]:
        raise click.ClickException("; ".join(f"{finding.what}: {finding.says}" for finding in wrong))
    if "DAGSTER_HOME" not in os.environ:
        home = load_settings().work_folder / "dagster"
        prepare_dagster_home(home)
        os.environ["DAGSTER_HOME"] = str(home)
        click.echo(f"Dagster keeps this run in {home}: export DAGSTER_HOME={home} before `dagster dev` to see it")
    run_stages()


@click.command()
@click.argument("edition_key", metavar="OL123M")
def why(edition_key: str) -> None:
    """Tell why a book is found, or by which rule or at which stage it left the road."""
    from book_search.cli.stages import explain
    from book_search.search.query import parse_edition_key

    for line in explain(parse_edition_key(edition_key)):
        click.echo(line)
