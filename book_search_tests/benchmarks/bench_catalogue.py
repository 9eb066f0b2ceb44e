"""Measures the first stage against igzip, gzip and other ways to choose editions, on generated dumps.

    python -m book_search_tests.benchmarks.bench_catalogue --size 3G

Every figure is of a process of its own, and a ratio to `igzip -dc` of the same files in the same run. The dumps are
kept and used again; nothing here asserts on a time.
"""

import argparse
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from book_search_tests.benchmarks.generate_dumps import bytes_of, generate_dumps
from book_search_tests.benchmarks.measuring import measure

STAGE_KINDS = ("editions", "works", "authors")


@dataclass(frozen=True)
class Contender:
    """One line of the table: what it reads, its command, and what must be installed for it."""

    name: str
    reads: str  # "editions" or "stage": which igzip it is a ratio to
    command: list[str]
    needs_program: str | None = None
    needs_module: str | None = None


def contenders(folder: Path) -> list[Contender]:
    """All of them, igzip first."""

    def ours(name: str, reads: str, label: str, module: str | None = None) -> Contender:
        command = [sys.executable, "-m", "book_search_tests.benchmarks.competitors", name, str(folder)]
        return Contender(label, reads, command, needs_module=module)

    editions = [str(_dump(folder, "editions"))]
    stage = [str(_dump(folder, kind)) for kind in STAGE_KINDS]
    return [
        Contender("igzip -dc", "editions", ["igzip", "-dc", *editions], needs_program="igzip"),
        Contender("gzip -dc", "editions", ["gzip", "-dc", *editions], needs_program="gzip"),
        ours("ours-check", "editions", "book_search, taking in (every record checked)"),
        ours("ours-editions", "editions", "book_search, editions"),
        ours("duckdb", "editions", "DuckDB, naive"),
        ours("polars", "editions", "Polars", "polars"),
        ours("orjson", "editions", "Python, gzip, orjson", "orjson"),
        ours("pyspark", "editions", "PySpark, published filter", "pyspark"),
        Contender("igzip -dc", "stage", ["igzip", "-dc", *stage], needs_program="igzip"),
        Contender("gzip -dc", "stage", ["gzip", "-dc", *stage], needs_program="gzip"),
        ours("ours-stage", "stage", "book_search, whole stage"),
    ]


def _missing(contender: Contender) -> str | None:
    if contender.needs_program and not shutil.which(contender.needs_program):
        return f"{contender.needs_program} is not installed"
    if contender.needs_module and not importlib.util.find_spec(contender.needs_module):
        return f"{contender.needs_module} is not installed; pip install '.[bench]'"
    if contender.needs_module == "pyspark" and not shutil.which("java"):
        return "java is not installed"
    return None


def compare(folder: Path, rounds: int, without: set[str]) -> None:
    """Print the table, each figure the best of some rounds."""
    print("| | s | x igzip | CPU s | peak MB | editions or books |\n|---|---|---|---|---|---|")
    floor: dict[str, float] = {}
    for contender in contenders(folder):
        missing = "left out" if contender.needs_module in without else _missing(contender)
        label = f"{contender.name}{' (three dumps)' if contender.reads == 'stage' else ''}"
        if missing:
            print(f"| {label} | {missing} | | | | |", flush=True)
            continue
        best = min(
            (measure(contender.command, listen=contender.needs_program is None) for _ in range(rounds)),
            key=lambda measured: measured.wall,
        )
        floor.setdefault(contender.reads, best.wall)
        ratio = best.wall / floor[contender.reads]
        print(
            f"| {label} | {best.wall:.1f} | {ratio:.1f} | {best.cpu:.1f} | {best.peak_mb:.0f} | {best.said} |",
            flush=True,
        )


def _dump(folder: Path, kind: str) -> Path:
    (path,) = folder.glob(f"ol_dump_{kind}_*.txt.gz")
    return path


def main() -> None:
    """Generate what is not there yet, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3G", help="of the editions' text")
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench"), help="where dumps are kept")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts")
    parser.add_argument("--without", nargs="*", default=[], help="modules to leave out: polars, orjson, pyspark")
    asked = parser.parse_args()
    folder = asked.folder / asked.size
    if not (folder / "complete").exists():
        print(f"generating {asked.size} of editions, with works and authors, in {folder} ...", flush=True)
        dumps = generate_dumps(folder, bytes_of(asked.size))
        (folder / "complete").write_text(f"{dumps.text_bytes}\n")
    print(f"{asked.size} of editions, {os.cpu_count()} cores: {(folder / 'complete').read_text().strip()}")
    compare(folder, asked.rounds, set(asked.without))


if __name__ == "__main__":
    main()
