"""Commands that ask: search, similar, embed, classify, evaluate."""

import json
import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from book_search.cli import configured

if TYPE_CHECKING:
    from book_search.search.query import Filters
    from book_search.search.results import Results

PICTURE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILTERS = [
    click.option("--year-from", type=int, metavar="YEAR", help="Published in this year or later."),
    click.option("--year-to", type=int, metavar="YEAR", help="Published in this year or earlier."),
    click.option("--pages-from", type=int, metavar="N", help="This many pages or more."),
    click.option("--pages-to", type=int, metavar="N", help="This many pages or fewer."),
    click.option("--author", metavar="WORDS", help="These words among the authors."),
    click.option("--publisher", metavar="WORDS", help="These words in the publisher's name."),
    click.option("--subject", metavar="WORDS", help="These words among the subjects."),
    click.option("--tag", "tags", multiple=True, metavar="FACET:TAG", help="A tag of the cover, such as colour:blue."),
]


def filter_options(command: Any) -> Any:
    """Give a command the options of every filter."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--image", "images", multiple=True, type=PICTURE, help="Covers that look like this picture.")
@click.option("--like", "likes", multiple=True, metavar="OL123M", help="Covers like this book's.")
@click.option("--avoid", "avoids", multiple=True, metavar="TEXT", help="What the cover should not show.")
@click.option("--words", metavar="WORDS", help="Words in title, authors, subjects or description, as on the web.")
@click.option("--limit", "-n", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for another program.")
@filter_options
def search(
    texts: tuple[str, ...],
    images: tuple[Path, ...],
    likes: tuple[str, ...],
    avoids: tuple[str, ...],
    words: str | None,
    limit: int,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find books by what their covers show.

    TEXT says what is on the cover. Texts, pictures and books can be mixed; a part that ends in ^0.5 counts half.

    \b
      book-search search "a white ship under a moon"
      book-search search --image photo.jpg
      book-search search --like OL123M "but at night"
      book-search search "a red heart" --avoid "snow" --year-from 2020
      book-search search "a lighthouse" --words "woolf or sea" --json
    """
    _one_thread()
    from book_search.search.engine import search as ask
    from book_search.search.query import Query, parse_weighted

    query = Query(
        texts=[parse_weighted(text) for text in texts],
        images=[path.read_bytes() for path in images],
        likes=[parse_weighted(key) for key in likes],
        avoids=[parse_weighted(text) for text in avoids],
        words=words,
    )
    with configured.connection() as connection:
        clip = cache(configured.clip)
        reader = partial(configured.texts, clip)
        results = ask(connection, clip, query, limit, _filters(filters), load_texts=reader)
    _show(results, as_json)


@click.command()
@click.argument("edition_key", metavar="OL123M")
@click.option("--limit", "-n", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for another program.")
@filter_options
def similar(edition_key: str, limit: int, as_json: bool, **filters: Any) -> None:
    """Find the books whose covers are nearest to a book's cover. No model is loaded: its vector is known."""
    from book_search.search.engine import similar as ask

    with configured.connection() as connection:
        results = ask(connection, edition_key, limit, _filters(filters))
    _show(results, as_json)


@click.command()
@click.argument("text")
def embed(text: str) -> None:
    """Print the vector of a text as pgvector writes it, for use in psql.

    \b
      \\set q `book-search embed "a ship under a full moon"`
      select title, cosine from search_books(:'q', 'a ship under a full moon', 10);
    """
    _one_thread()
    from book_search.clip.templates import text_vector

    numbers = text_vector(configured.texts(), text)
    click.echo(f"[{','.join(f'{number:.7g}' for number in numbers)}]")


@click.command()
@click.argument("images", nargs=-1, required=True, type=PICTURE)
@click.option("--label", "labels", multiple=True, required=True, help="A word that may fit; give two or more.")
@click.option("--template", default="a book cover of {}", show_default=True, help="The sentence around a label.")
def classify(images: tuple[Path, ...], labels: tuple[str, ...], template: str) -> None:
    """Tell which of some labels fits each picture, with probabilities (zero-shot classification)."""
    from book_search.clip.zero_shot import classify as ask

    probabilities = ask(configured.clip(), [path.read_bytes() for path in images], labels, template)
    for path, row in zip(images, probabilities, strict=True):
        ranked = sorted(zip(labels, row.tolist(), strict=True), key=lambda pair: -pair[1])
        click.echo(f"{path.name}: " + ", ".join(f"{label} {share:.3f}" for label, share in ranked))


@click.command()
@click.option("--samples", default=200, show_default=True, type=click.IntRange(1), help="Trials of each measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for another program.")
def evaluate(samples: int, as_json: bool) -> None:
    """Measure how well the search finds: the index against exact search, covers and titles that must be found."""
    from book_search.evaluation.relevance import relevance_report

    with configured.connection() as connection:
        report = relevance_report(connection, configured.clip(), samples=samples)
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_markdown())


def _one_thread() -> None:
    """Have numpy, not imported yet, multiply in one thread: of a few sentences a second one takes off 20 ms where the
    machine is idle, and adds hundreds where it is not, since OpenBLAS waits for both."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _filters(given: dict[str, Any]) -> "Filters":
    from book_search.search.query import Filters

    return Filters(**given)


def _show(results: "Results", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(results.as_dict(), indent=2, ensure_ascii=False))
        return
    from book_search.cli.stages import wide_console

    wide_console().print(results.as_table())
