"""The demo: a drawn library, served over loopback as Open Library would, taken down the whole road, then asked."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from book_search.index.connection import Connection

QUESTION = "a white ship under a moon"


@click.command()
@click.option("--ui", is_flag=True, help="Afterwards open the Dagster UI on the demo's library.")
@click.option("--serve", is_flag=True, help="Afterwards open the search page on the demo's library.")
def demo(ui: bool, serve: bool) -> None:
    """Draw a small library, run the whole road on it, and ask it three questions. Needs no network.

    The library, its dumps and its server are made up, with the mess of the real ones; the road, the database and
    the code of the model are the real ones. The model is a tiny stand-in for CLIP, trained on such drawings.
    A second run finds everything current and takes seconds.
    """
    from book_search.cli.stages import funnel_table, ledger_table, run_stages, wide_console

    console = wide_console()
    with demo_library() as home:
        console.rule("The road")
        run_stages(console)
        console.rule("What came of it")
        from book_search.index.connection import connect

        with connect(os.environ["BOOK_SEARCH_DATABASE_URL"]) as connection:
            console.print(funnel_table(connection))
            console.print(ledger_table(connection))
            console.rule("Three questions")
            liked = _ask(console, connection, home)
        console.rule("What next")
        console.print(NEXT_STEPS.format(edition_key=liked), markup=False, highlight=False)
        if ui:
            _run("dagster", "dev", "-m", "book_search.definitions")
        if serve:
            _run("book-search", "serve")


NEXT_STEPS = """\
  Ask more:               .venv/bin/book-search --demo search "a golden crown" --avoid "snow"
  Why is a book found:    .venv/bin/book-search --demo why {edition_key}
  SQL:                    .venv/bin/book-search --demo psql
  The search page:        make serve   (then open the address that it prints)
  The Dagster UI:         make ui      (likewise)
  The real Open Library:  set BOOK_SEARCH_CONTACT to your e-mail address, then .venv/bin/book-search run
                          (README, "On the real dumps": some 30 GB of disk and half a day of polite downloading)
"""


@contextmanager
def demo_library() -> Iterator[Path]:
    """The drawn library served, its database running, and this process's environment set to both; gives its folder."""
    from book_search.index.connection import database
    from book_search.instance import prepare_dagster_home
    from book_search.sample.demo import enter_demo
    from book_search.sample.library import plan_library
    from book_search.sample.server import Faults, SampleServer
    from book_search.sample.serving import content_of

    home = enter_demo()
    prepare_dagster_home(home / "dagster")
    content = content_of(plan_library(), home / "drawn")
    # A server that never fails would hide half of what the road does.
    faults = Faults(throttled=0.02, unavailable=0.02, broken=0.02)
    with SampleServer(content, faults) as server, database(None, home) as dsn:
        enter_demo(server.url)
        os.environ["BOOK_SEARCH_DATABASE_URL"] = dsn
        yield home


def _ask(console: "Console", connection: "Connection", home: Path) -> str:
    """A text, a picture, and a book with a change: each with its answer as a table. Returns that book's key."""
    from book_search.clip.model import load_clip
    from book_search.sample.demo import TINY_CLIP, demo_picture
    from book_search.search.engine import search
    from book_search.search.query import Query

    clip = load_clip(str(TINY_CLIP))
    picture = home / "question.jpg"
    picture.write_bytes(demo_picture())
    like = search(connection, lambda: clip, Query(texts=["a ship by the sea"]), 1).hits[0]
    questions = [
        (f'A text: "{QUESTION}"', Query(texts=[QUESTION])),
        (f"A picture: {picture}", Query(images=[picture.read_bytes()])),
        (
            f'A book and a change: like {like.edition_key} ({like.title}), "but at night"',
            Query(likes=[like.edition_key], texts=["at night"]),
        ),
    ]
    for title, query in questions:
        console.print(search(connection, lambda: clip, query, 5).as_table(title))
    return like.edition_key


def _run(*command: str) -> None:
    """A program of this environment in the foreground; Ctrl-C ends it, and then us."""
    program = Path(sys.executable).parent / command[0]
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the program's, which ends in its own order
    subprocess.run([program, *command[1:]], check=False)
