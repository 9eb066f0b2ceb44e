"""Measures search in the database beside vector libraries and small databases: same vectors, queries and truth.

    python -m book_search_tests.benchmarks.bench_index_search --rows 70000
    python -m book_search_tests.benchmarks.bench_index_search --rows 70000 --only lancedb pgvector-bit

Every contender runs in a process of its own; what it measured is kept beside the vectors, so that a benchmark may be
run in pieces. Libraries come from PyPI into an environment of their own; one that does not install or run is left out
with the reason. Nothing here asserts on a time.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from book_search.index.connection import connect
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server
from book_search_tests.benchmarks.clustered import draw_field, nearest
from book_search_tests.benchmarks.library_contenders import LIBRARIES
from book_search_tests.benchmarks.postgres_contenders import POSTGRES
from book_search_tests.benchmarks.search_contest import CLIENTS, KINDS, TARGETS

PINNED = {
    "hnswlib": ["hnswlib==0.8.0"],
    "faiss-hnsw": ["faiss-cpu==1.15.1"],
    "faiss-flat": ["faiss-cpu==1.15.1"],
    "usearch": ["usearch==2.26.6"],
    "lancedb": ["lancedb==0.40.0"],
    "milvus-lite": ["milvus-lite==3.2.2", "pymilvus==3.0.2"],
    "qdrant-local": ["qdrant-client==1.20.0"],
}
QUERIES = 500
REFERENCE = "hnswlib"  # whose times the others' are divided by
FOLDER = Path(".book_search/bench/index")


def compare_search(
    rows: int,
    dim: int = 512,
    folder: Path = FOLDER,
    only: Sequence[str] = (),
    again: bool = True,
    kept_tables: bool = False,
) -> dict[str, dict[str, Any]]:
    """What each contender measured (see `search_contest.run_contender`), or {"failed": why}.

    Args:
        rows, dim: of the vectors.
        folder: where vectors, environments, the server and the results are kept.
        only: contenders to run; the others' kept results are taken. Default: all.
        again: whether contenders run that have results already.
        kept_tables: whether Postgres' tables of an earlier run are searched as they are.
    """
    field = folder / f"{rows}x{dim}"
    _field(field, rows, dim)
    for name in only or (*POSTGRES, *LIBRARIES):
        kept = field / f"{name}.json"
        if again or not kept.exists():
            before = json.loads(kept.read_text()) if kept.exists() else {}
            kept.unlink(missing_ok=True)
            print(f"{name} ...", file=sys.stderr, flush=True)
            measured = _run(name, field, folder, kept_tables)
            if measured.get("build", 0) is None:  # it was not built again
                measured["build"] = before.get("build")
            kept.write_text(json.dumps(measured))
    names = [name for name in (*POSTGRES, *LIBRARIES) if (field / f"{name}.json").exists()]
    return {name: json.loads((field / f"{name}.json").read_text()) for name in names}


def tables(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: for each kind of query and recall, times and rates, and how many times the reference's they are."""
    blocks = []
    for kind in KINDS:
        header = (
            f"| queries like {kind} | recall@10 | width | p50 ms | p95 | p99 | x {REFERENCE} | queries a second with "
        )
        lines = [header + ", ".join(map(str, CLIENTS)) + " clients |", "|---|---|---|---|---|---|---|---|"]
        for target in TARGETS:
            base = _at(results.get(REFERENCE, {}), kind, target)
            for name, measured in results.items():
                found = _at(measured, kind, target)
                if found is not None:
                    lines.append(_line(name, measured, kind, target, found, base))
                elif "failed" not in measured:
                    lines.append(f"| {name} | never {target} | | | | | | |")
        blocks.append("\n".join(lines))
    built = "| built | seconds |\n|---|---|\n" + "\n".join(
        f"| {name} | {measured['build']:.1f} |" for name, measured in results.items() if measured.get("build")
    )
    failed = [f"{name} is left out: {measured['failed']}" for name, measured in results.items() if "failed" in measured]
    return "\n\n".join([*blocks, built, *failed])


def _line(
    name: str, measured: dict[str, Any], kind: str, target: float, found: dict[str, Any], base: dict[str, Any] | None
) -> str:
    rates = {
        rate["clients"]: f"{rate['rate']:,.0f}"
        for rate in measured["rates"]
        if (rate["kind"], rate["target"]) == (kind, target)
    }
    times = f"{found['p50']:.3f} | {found['p95']:.3f} | {found['p99']:.3f}"
    ratio = f"{found['p50'] / base['p50']:.1f}" if base else ""
    shown = ", ".join(rates.get(clients, "-") for clients in CLIENTS)
    width = found["setting"] or "exact"
    return f"| {name} at {target} | {found['recall']:.3f} | {width} | {times} | {ratio} | {shown} |"


def _at(measured: dict[str, Any], kind: str, target: float) -> dict[str, Any] | None:
    """The narrowest search that reaches a recall."""
    found = [one for one in measured.get("settings", ()) if one["kind"] == kind and one["recall"] >= target]
    return min(found, key=lambda one: int(one["setting"])) if found else None


def _field(folder: Path, rows: int, dim: int) -> None:
    if (folder / "texts_cosines.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_field(rows, dim, QUERIES)
    np.save(folder / "vectors.npy", drawn.vectors)
    for kind, queries in (("images", drawn.images), ("texts", drawn.texts)):
        np.save(folder / f"{kind}.npy", queries)
        np.save(folder / f"{kind}_cosines.npy", nearest(drawn.vectors, queries)[1])


def _run(name: str, field: Path, folder: Path, kept_tables: bool) -> dict[str, Any]:
    module = f"book_search_tests.benchmarks.{'postgres' if name in POSTGRES else 'library'}_contenders"
    if name in LIBRARIES:
        python = folder.parent / "index-venv" / "bin" / "python"
        try:
            if not python.exists():
                subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True, capture_output=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, "numpy==2.4.6", *PINNED[name]], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            return {"failed": f"it did not install: {str(error.stderr).strip()[-300:]}"}
        return _measured([str(python), "-m", module, name, str(field)])
    with embedded_server(folder / f"server-{field.name}") as dsn:
        with connect(dsn) as conn:
            apply_sql(conn)
        return _measured([sys.executable, "-m", module, name, str(field), dsn, *(["kept"] * kept_tables)])


def _measured(command: list[str]) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(root)}
    )
    if ran.returncode or not ran.stdout.strip():
        return {"failed": " ".join(ran.stderr.strip().splitlines()[-2:]) or f"it ended with {ran.returncode}"}
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Run what is asked for, and print the tables of all that was ever measured at this size."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=70_000, help="vectors; 1000000 takes some hours")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--only", nargs="+", choices=[*POSTGRES, *LIBRARIES], default=[])
    parser.add_argument("--keep", action="store_true", help="run only contenders that have no results yet")
    parser.add_argument("--kept-tables", action="store_true", help="search Postgres' tables of an earlier run again")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    print(tables(compare_search(asked.rows, asked.dim, folder, asked.only, not asked.keep, asked.kept_tables)))


if __name__ == "__main__":
    main()
