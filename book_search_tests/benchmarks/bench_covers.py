"""Measures how fast covers are fetched, judged and kept where no politeness holds us: against img2dataset and floors.

    python -m book_search_tests.benchmarks.bench_covers --counts 2000 10000

All contenders ask the same server, a process of its own whose processor time is not theirs, for the same covers.
Pictures are drawn once and kept; nothing here asserts on a time.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from book_search_tests.benchmarks.cover_contest import (
    BULK,
    BY_ID,
    FLOORS,
    IMG2DATASET,
    OURS,
    Contender,
    contenders,
    covers_had,
    install_img2dataset,
)
from book_search_tests.benchmarks.cover_field import Field, pictures_to_serve, prepare, serving
from book_search_tests.benchmarks.measuring import Measured, measure


@dataclass(frozen=True)
class Result:
    """What a contender took for a number of covers: of its rounds the least time, and the least processor time."""

    covers: int
    measured: Measured

    @property
    def rate(self) -> float:
        """Covers a second."""
        return self.covers / self.measured.wall

    @property
    def cpu(self) -> float:
        """Seconds of processor for a thousand covers."""
        return self.measured.cpu / self.covers * 1_000

    def or_better(self, other: "Result | None") -> "Result":
        """The best of both, each figure for itself; of the memory the worst."""
        if other is None:
            return self
        one, two = self.measured, other.measured
        best = Measured(min(one.wall, two.wall), min(one.cpu, two.cpu), max(one.peak_mb, two.peak_mb), one.said)
        return Result(self.covers, best)


def run_round(contender: Contender, field: Field, url: str, scratch: Path) -> Result:
    """One contender, once, into an empty folder.

    Raises RuntimeError where it fails, or had another number of covers than there are.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    words = contender.words(field, url, scratch)
    os.sync()  # what the one before left to be written is not this one's
    measured = measure(words, os.environ | contender.environment)
    had = covers_had(contender, measured, scratch, field)
    shutil.rmtree(scratch)
    if had != field.count:
        raise RuntimeError(f"{contender.name} had {had:,} of {field.count:,} covers")
    return Result(field.count, measured)


def run_all(
    entered: Sequence[Contender], fields: Sequence[Field], url: str, scratch: Path, rounds: int
) -> dict[tuple[str, int], Result | str]:
    """Every contender at every number of covers, or why not. Rounds go round all of them, so that a noisy neighbour
    of the machine meets each."""
    results: dict[tuple[str, int], Result | str] = {}
    for number in range(rounds):
        for field in fields:
            for contender in entered:
                key = contender.name, field.count
                before = results.get(key)
                if isinstance(before, str):
                    continue
                if contender.missing is not None:
                    results[key] = contender.missing
                    continue
                print(f"round {number + 1}, {field.count:,} covers: {contender.name}", file=sys.stderr, flush=True)
                try:
                    result = run_round(contender, field, url, scratch)
                except RuntimeError as error:
                    if contender.is_ours:
                        raise
                    results[key] = str(error).strip().splitlines()[-1]
                    continue
                results[key] = result.or_better(before)
    return results


def table(
    road: str, entered: Sequence[Contender], counts: Sequence[int], results: Mapping[tuple[str, int], Result | str]
) -> str:
    """One road's results in Markdown: ratios are of processor time, to the road's floor at the same count."""
    lines = [
        f"| {road} | covers | covers/s | CPU s per 1,000 | x floor | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for count in counts:
        floor = results.get((FLOORS[road], count))
        for contender in entered:
            result = results.get((contender.name, count))
            if contender.road != road or result is None:
                continue
            if isinstance(result, str):
                lines.append(f"| {contender.name} | {count:,} | left out: {result} | | | |")
                continue
            ratio = f"{result.cpu / floor.cpu:.1f}" if isinstance(floor, Result) else ""
            lines.append(
                f"| {contender.name} | {count:,} | {result.rate:,.0f} | {result.cpu:.2f} | {ratio} | "
                f"{result.measured.peak_mb:,.0f} |"
            )
    return "\n".join(lines)


def without_start(name: str, counts: Sequence[int], results: Mapping[tuple[str, int], Result | str]) -> float | None:
    """CPU seconds for a thousand covers more, from the fewest to the most: the start of the process falls out."""
    few, many = results.get((name, min(counts))), results.get((name, max(counts)))
    if not isinstance(few, Result) or not isinstance(many, Result) or few.covers == many.covers:
        return None
    return (many.measured.cpu - few.measured.cpu) / (many.covers - few.covers) * 1_000


def verdicts(counts: Sequence[int], results: Mapping[tuple[str, int], Result | str]) -> list[str]:
    """The goals as sentences with figures."""
    most, said = max(counts), []
    for road, name in OURS.items():
        ours, floor = results.get((name, most)), results.get((FLOORS[road], most))
        if not isinstance(ours, Result):
            continue
        if isinstance(floor, Result):
            said.append(
                f"{road}: {ours.cpu / floor.cpu:.1f} times the floor's processor time and "
                f"{floor.rate / ours.rate:.1f} times its time"
            )
        if isinstance(few := results.get((name, min(counts))), Result) and few is not ours:
            said.append(
                f"{road}: {few.measured.peak_mb:.0f} MB at {few.covers:,} covers, "
                f"{ours.measured.peak_mb:.0f} MB at {ours.covers:,}"
            )
    ours = results.get((OURS[BY_ID], most))
    for name, count in results:
        other = results[name, count]
        if isinstance(ours, Result) and isinstance(other, Result) and name.startswith("img2dataset") and count == most:
            said.append(f"{other.cpu / ours.cpu:.2f} times the covers per CPU second of {name}")
    return said


def main() -> None:
    """Draw what is not there yet, start the server, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 10_000], help="of covers")
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench"), help="where pictures are kept")
    parser.add_argument("--pictures", type=Path, help="a folder of JPEG files to serve instead of drawn ones")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts")
    parser.add_argument("--only", default="", help="contenders with these letters in their names")
    parser.add_argument("--without-img2dataset", action="store_true", help="do not install it, leave it out")
    asked = parser.parse_args()
    folder = asked.folder.resolve() / "covers"
    venv = asked.folder.resolve() / "img2dataset-venv"
    missing = "not asked for" if asked.without_img2dataset else install_img2dataset(venv)
    entered = [each for each in contenders(venv, missing) if asked.only in each.name]
    kept, pictures = pictures_to_serve(folder, asked.pictures)
    with serving(kept, folder / "zips") as url:
        fields = prepare(folder, asked.counts, pictures, url)
        results = run_all(entered, fields, url, folder / "scratch", asked.rounds)
    mean = sum(map(len, pictures)) / len(pictures)
    print(f"{os.cpu_count()} cores, covers of {mean / 1e3:.0f} kB, img2dataset {IMG2DATASET}, best of {asked.rounds}\n")
    for road in (BY_ID, BULK):
        print(table(road, entered, asked.counts, results), end="\n\n")
    print("| CPU s per 1,000 covers more, the start of the process left out | |\n|---|---|")
    for contender in entered:
        if (cpu := without_start(contender.name, asked.counts, results)) is not None:
            print(f"| {contender.name} | {cpu:.2f} |")
    print("", *verdicts(asked.counts, results), sep="\n")


if __name__ == "__main__":
    main()
