"""Measures a whole warm search, text in and books out, and the share of each of its parts.

    OPENBLAS_NUM_THREADS=1 python -m book_search_tests.benchmarks.bench_whole_search --rows 70000

With one thread as the commands have it: two of them wait for each other wherever something else computes too.
The model is a ViT-B/32 of random weights, its texts read as the command `search` reads them (numpy) and as a warm
server does (torch, packed weights); the covers are clustered vectors, the titles words whose frequencies follow Zipf's
law. Each query is searched for by vector and by words, without and with a filter. No text is remembered from one query
to the next, except where a column says so. Processor time is told too: of this process and of Postgres, which a busy
machine stretches less than the clock. Nothing here asserts on a time.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from book_search.clip.model import ModelIdentity
from book_search.clip.templates import TEMPLATES
from book_search.clip.text_memory import TextMemory
from book_search.clip.texts import ClipTexts, LazyTexts, load_texts, quickened
from book_search.index.connection import Connection, connect
from book_search.index.models import active_model
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server
from book_search.search import engine
from book_search.search.query import Filters, Query
from book_search_tests.benchmarks.clustered import draw_field
from book_search_tests.benchmarks.filtered_books import draw_books, load_filtered
from book_search_tests.benchmarks.query_library import random_vit_b_32
from book_search_tests.benchmarks.served_search import served

QUERIES = 300
WARM_UPS = 20
PARTS = {
    "encoding": "_vectors",
    "background": "background_sample",
    "books by vector and words (SQL)": "_search_books",
    "details and fit of the hits (SQL)": "_hits",
}
NO_FILTER = Filters()
FILTERS = {"half pass (pages)": Filters(pages_to=999), "5 % pass (tag)": Filters(tags=("share:twentieth",))}

Took = dict[str, np.ndarray]


def whole_search(conn: Connection, reader: LazyTexts, texts: Sequence[str], filters: Filters = NO_FILTER) -> Took:
    """Milliseconds of each search, by part: float [queries] each.

    `all` is the whole, formatting included; `processor` its processor time, here and in Postgres, on average.
    """

    def load() -> Any:
        return reader

    took: dict[str, list[float]] = {part: [] for part in (*PARTS, "formatting", "all")}
    for part, name in PARTS.items():
        setattr(engine, name, _timed(getattr(engine, name), took[part]))
    spent = _processor_seconds(conn)
    for text in texts:
        started = time.perf_counter()
        results = engine.search(conn, load, Query(texts=[text], words=text), 10, filters, load_texts=load)
        found = time.perf_counter()
        json.dumps(results.as_dict(), default=str)
        took["formatting"].append(time.perf_counter() - found)
        took["all"].append(time.perf_counter() - started)
    took["processor"] = [(_processor_seconds(conn) - spent) / len(texts)]
    for name in PARTS.values():
        setattr(engine, name, getattr(engine, name).__wrapped__)
    return {part: 1e3 * np.array(seconds) for part, seconds in took.items()}


def table(took: dict[str, Took]) -> str:
    """As Markdown: medians of the parts, and the whole."""
    lines = ["| ms | " + " | ".join(took) + " |", "|---" * (1 + len(took)) + "|"]
    each = list(took.values())

    def add(name: str, told: Callable[[Took], str]) -> None:
        lines.append(f"| {name} | " + " | ".join(told(one) for one in each) + " |")

    for part in (*PARTS, "formatting"):
        add(f"{part}, p50", lambda one, part=part: f"{np.median(one[part]):.2f}")  # type: ignore[misc]
    add("the rest, p50", lambda one: f"{np.median(one['all'] - sum(one[part] for part in (*PARTS, 'formatting'))):.2f}")
    for which in (50, 95, 99):
        add(f"**the whole, p{which}**", lambda one, which=which: f"{np.percentile(one['all'], which):.1f}")  # type: ignore[misc]
    add("its processor time, mean", lambda one: f"{one['processor'][0]:.1f}")
    return "\n".join(lines)


def _timed(function: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        answer = function(*arguments)
        into.append(time.perf_counter() - started)
        return answer

    timed.__dict__["__wrapped__"] = function
    return timed


def _processor_seconds(conn: Connection) -> float:
    """Of this process and of its connection's own in Postgres (Linux's proc(5))."""
    try:
        fields = Path(f"/proc/{conn.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # not this machine's, or not Linux
        return time.process_time()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load(dsn: str, rows: int, identity: ModelIdentity) -> None:
    with connect(dsn) as conn:
        apply_sql(conn)
    with connect(dsn) as conn:
        model = active_model(conn)
        if model is None or model.revision != identity.revision:
            drawn = draw_books(draw_field(rows).vectors)
            load_filtered(conn, drawn, (identity.model_id, identity.revision, identity.preprocessing))


def _texts(conn: Connection, count: int = QUERIES) -> list[str]:
    """Words of titles, one to five of them, the common ones as often as they are."""
    titles = conn.execute("SELECT title FROM book ORDER BY hashtext(edition_key) LIMIT %s", [count]).fetchall()
    return [" ".join(title.split()[: 1 + place % 5]) for place, (title,) in enumerate(titles)]


def _forgetful(reader: LazyTexts) -> LazyTexts:
    """The same, but every text is new to it."""
    return LazyTexts(reader.description, lambda: reader.loaded, TextMemory(0))


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=70_000)
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench/index"))
    parser.add_argument("--model", type=Path, default=Path(".book_search/bench/query/vit-b-32"))
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--engine", default="auto", help="of the server's texts: auto, bf16 or fp32")
    asked = parser.parse_args()
    asked.model.mkdir(parents=True, exist_ok=True)
    model = random_vit_b_32(asked.model.resolve())
    command = load_texts(str(model))
    with embedded_server(asked.folder.resolve() / f"server-whole-{asked.rows}") as dsn:
        _load(dsn, asked.rows, command.identity)
        with connect(dsn) as conn:
            texts = _texts(conn, asked.queries)
            whole_search(conn, _forgetful(command), texts[:WARM_UPS])
            took = {"as a command has it": whole_search(conn, _forgetful(command), texts)}
            server = quickened(command, asked.engine)
            whole_search(conn, _forgetful(server), texts[:WARM_UPS])
            took["a warm server"] = whole_search(conn, _forgetful(server), texts)
            for name, filters in FILTERS.items():
                took[f"a warm server, {name}"] = whole_search(conn, _forgetful(server), texts, filters)
            server.encode_texts([template.replace("{}", text) for text in texts for template in TEMPLATES])
            took["a warm server, texts remembered"] = whole_search(conn, server, texts)
        over_http = served(dsn, model, texts[:WARM_UPS], texts)
    if isinstance(command.loaded, ClipTexts):
        tokens = [len(ids) for ids in command.loaded.tokenizer.ids(texts)]
        sizes = f"{np.median(tokens):.0f} tokens at the median, {max(tokens)} at most"
        print(f"A text has {sizes}, and is put into {len(TEMPLATES)} templates.\n")
    print(table(took))
    for name, seconds in over_http.items():
        told = ", ".join(f"p{which} {1e3 * np.percentile(seconds, which):.1f}" for which in (50, 95, 99))
        print(f"\nOver HTTP from `book-search serve`, {name}, ms: {told}")


if __name__ == "__main__":
    main()
