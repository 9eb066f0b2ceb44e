"""Commands about the database and what serves it: psql on it, and a look at what could be wrong."""

import os
import signal
import subprocess
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the database, the embedded one or BOOK_SEARCH_DATABASE_URL's.

    Everything after `psql` is passed on to it:

    \b
      book-search psql
      book-search psql -c "select count(*) from book"

    In psql, a text becomes a vector by asking book-search for it:

    \b
      \\set q `book-search embed "a ship under a full moon"`
      select title, cosine from search_books(:'q', 'a ship under a full moon', 10);
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from book_search.index.connection import database, printable
    from book_search.index.server import postgres_binary
    from book_search.settings import load_settings

    settings = load_settings()
    if settings.dsn:
        printable(settings.dsn)  # an address that cannot be read is refused here, by a message without its password
    with database(settings.dsn, settings.work_folder) as dsn:
        # What psql starts with a backquote finds the same database, and this very book-search. The password goes by
        # the environment: a command line can be read by everybody on the machine.
        address = conninfo_to_dict(dsn)
        environment = os.environ | {"BOOK_SEARCH_DATABASE_URL": dsn, "PATH": _path_with_us()}
        if password := address.pop("password", None):
            environment["PGPASSWORD"] = str(password)
        command = [
            str(postgres_binary("psql")),
            "-d",
            make_conninfo("", **{name: str(value) for name, value in address.items()}),
            *arguments,
        ]
        # Ctrl-C is psql's, to cancel a query with. (A handler, since an ignored signal would be ignored by psql too.)
        signal.signal(signal.SIGINT, lambda *_: None)
        finished = subprocess.run(command, env=environment, check=False)
    sys.exit(finished.returncode)


@click.command()
@click.option("--free-slots", is_flag=True, help="First give back the pools' slots whose process is gone.")
def doctor(free_slots: bool) -> None:
    """Look at settings, lake, database, model and Dagster's pools; tell what is wrong and how to mend it.

    A step of a run holds a slot of its pool, such as covers_host. Where its process was killed, the slot stays
    taken, and the next run waits for it; that is told here, and --free-slots gives it back.
    """
    from book_search.cli.health import examine

    if free_slots:
        _free_slots()
    findings = examine()
    for finding in findings:
        mark = "BAD " if not finding.good else "warn" if finding.warns else "ok  "
        click.echo(f"{mark} {finding.what}: {finding.says}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)


def _free_slots() -> None:
    import dagster as dg

    from book_search.cli.road import ensure_dagster_home
    from book_search.defs.slots import free_slots

    ensure_dagster_home()
    with dg.DagsterInstance.get() as instance:
        for slot in free_slots(instance):
            click.echo(f"freed a slot of {slot.pool}: it was held by {slot.run}")


def _path_with_us() -> str:
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
