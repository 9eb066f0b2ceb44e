"""Measures a whole warm search, text in and books out, and the share of each of its parts.

    OPENBLAS_NUM_THREADS=1 python -m book_search_tests.benchmarks.bench_whole_search --rows 70000

With one thread as the command has it: two of them wait for each other wherever something else computes too.
The model is a ViT-B/32 of random weights, read by the text tower alone as every search by text is; the covers are
clustered vectors, the titles words whose frequencies follow Zipf's law. Each query is searched for by vector and by
words, without and with a filter. Nothing here asserts on a time.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from book_search.clip.model import ModelIdentity
from book_search.clip.templates import TEMPLATES
from book_search.clip.texts import ClipTexts, load_texts
from book_search.index.connection import Connection, connect
from book_search.index.models import active_model
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server
from book_search.search import engine
from book_search.search.query import Filters, Query
from book_search_tests.benchmarks.clustered import draw_field
from book_search_tests.benchmarks.filtered_books import draw_books, load_filtered
from book_search_tests.benchmarks.query_library import random_vit_b_32

QUERIES = 300
PARTS = {
    "encoding": "_vectors",
    "background": "background_sample",
    "books by vector and words (SQL)": "_search_books",
    "details and fit of the hits (SQL)": "_hits",
}
FILTERS = {
    "no filter": Filters(),
    "half pass (pages)": Filters(pages_to=999),
    "5 % pass (tag)": Filters(tags=("share:twentieth",)),
}


def whole_search(conn: Connection, load: Callable[[], Any], texts: Sequence[str], filters: Filters) -> dict[str, Any]:
    """Milliseconds of each search, by part: float [queries] each; `all` is the whole, formatting included."""
    took: dict[str, list[float]] = {part: [] for part in (*PARTS, "formatting", "all")}
    for part, name in PARTS.items():
        setattr(engine, name, _timed(getattr(engine, name), took[part]))
    for text in texts:
        started = time.perf_counter()
        results = engine.search(conn, load, Query(texts=[text], words=text), 10, filters, load_texts=load)
        found = time.perf_counter()
        json.dumps(results.as_dict(), default=str)
        took["formatting"].append(time.perf_counter() - found)
        took["all"].append(time.perf_counter() - started)
    for name in PARTS.values():
        setattr(engine, name, getattr(engine, name).__wrapped__)
    return {part: 1e3 * np.array(seconds) for part, seconds in took.items()}


def table(took: dict[str, dict[str, Any]]) -> str:
    """As Markdown: medians of the parts, and the whole."""
    lines = ["| ms | " + " | ".join(took) + " |", "|---" * (1 + len(took)) + "|"]
    each = list(took.values())
    for part in next(iter(took.values())):
        if part != "all":
            lines.append(f"| {part}, p50 | " + " | ".join(f"{np.median(one[part]):.2f}" for one in each) + " |")
    rest = [one["all"] - sum(values for part, values in one.items() if part != "all") for one in each]
    lines.append("| the rest, p50 | " + " | ".join(f"{np.median(one):.2f}" for one in rest) + " |")
    for which in (50, 95, 99):
        whole = " | ".join(f"{np.percentile(one['all'], which):.1f}" for one in each)
        lines.append(f"| **the whole, p{which}** | {whole} |")
    return "\n".join(lines)


def _timed(function: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        answer = function(*arguments)
        into.append(time.perf_counter() - started)
        return answer

    timed.__dict__["__wrapped__"] = function
    return timed


def _load(dsn: str, rows: int, identity: ModelIdentity) -> None:
    with connect(dsn) as conn:
        apply_sql(conn)
    with connect(dsn) as conn:
        model = active_model(conn)
        if model is None or model.revision != identity.revision:
            drawn = draw_books(draw_field(rows).vectors)
            load_filtered(conn, drawn, (identity.model_id, identity.revision, identity.preprocessing))


def _texts(conn: Connection) -> list[str]:
    """Words of titles, one to five of them, the common ones as often as they are."""
    titles = conn.execute("SELECT title FROM book ORDER BY hashtext(edition_key) LIMIT %s", [QUERIES]).fetchall()
    return [" ".join(title.split()[: 1 + place % 5]) for place, (title,) in enumerate(titles)]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=70_000)
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench/index"))
    parser.add_argument("--model", type=Path, default=Path(".book_search/bench/query/vit-b-32"))
    asked = parser.parse_args()
    asked.model.mkdir(parents=True, exist_ok=True)
    reader = load_texts(str(random_vit_b_32(asked.model.resolve())))
    with embedded_server(asked.folder.resolve() / f"server-whole-{asked.rows}") as dsn:
        _load(dsn, asked.rows, reader.identity)
        with connect(dsn) as conn:
            texts = _texts(conn)
            whole_search(conn, lambda: reader, texts[:20], Filters())
            took = {name: whole_search(conn, lambda: reader, texts, filters) for name, filters in FILTERS.items()}
    if isinstance(reader.loaded, ClipTexts):
        tokens = [len(ids) for ids in reader.loaded.tokenizer.ids(texts)]
        print(f"A text has {np.median(tokens):.0f} tokens at the median, and is put into {len(TEMPLATES)} templates.\n")
    print(table(took))


if __name__ == "__main__":
    main()
