"""What a month costs once the road has been run: one in which little changed, and two in which nothing did.

    python -m book_search_tests.benchmarks.bench_month --books 3000

A drawn library is served on loopback, the whole road is run on it, then on its next months, and what each run did is
set against the least that it had to do: see `month_work`. Times are of this machine, and of its drawn library.
"""

import argparse
import tempfile
from pathlib import Path

from book_search.clip.zero_shot import load_facets
from book_search.sample.demo import TINY_CLIP
from book_search.sample.library import Library, gzipped, plan_library
from book_search.sample.server import Faults
from book_search.sample.serving import content_of
from book_search_tests.benchmarks.month_work import Work, as_rows, least_work, run_counted
from book_search_tests.benchmarks.months import Month, next_month, same_month
from book_search_tests.road.conftest import Road, served_road

SIZE = (120, 180)  # pixels of a drawn cover


def main() -> None:
    """Measure from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--books", type=int, default=3000, help="editions that the filter keeps")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="book_search-month-") as folder:
        Path(folder).chmod(0o755)  # the server's account must reach it even where root measures
        compare(Path(folder), plan_library(seed=4, kept=asked.books, dropped=2 * asked.books))


def compare(folder: Path, library: Library) -> None:
    """Run the road of four months and print what each did."""
    drawn = folder / "drawn"
    with served_road(folder, "months", content_of(library, drawn, SIZE), Faults(), MODEL=str(TINY_CLIP)) as road:
        print(f"{len(library.kept):,} books of {len(library.lines['editions']):,} lines of editions", flush=True)
        first = run_counted(road)
        print(f"the first month: {_seconds(first):.1f} s", flush=True)
        again = run_counted(road)
        unchanged = _month(road, same_month(library, days=10), drawn)
        month = next_month(library)
        changed = _month(road, month, drawn)
        least = least_work(month, road.home, len(load_facets()))
        dumps = sum(len(gzipped(lines)) for lines in month.library.lines.values())
        _print_month(month, changed, least, dumps)
        _print_idle(again, unchanged)
        _print_seconds(first, changed, unchanged, again)


def _month(road: Road, month: Month, drawn: Path) -> Work:
    road.server.content = content_of(month.library, drawn, SIZE)
    return run_counted(road)


def _print_month(month: Month, done: Work, least: Work, dumps: int) -> None:
    print(
        f"\na month later: {len(month.changed)} books changed, {len(month.new)} new, {len(month.gone)} gone\n"
        f"\n| what | least | done | done / least |\n|---|---|---|---|"
    )
    print(f"| dumps, bytes (whole by nature) | {dumps:,} | {done.dump_bytes:,} | {done.dump_bytes / dumps:.2f} |")
    for what, did, few in as_rows(done, least):
        ratio = f"{did / few:.2f}" if few else "1.00" if not did else "not needed"
        print(f"| {what} | {few:,} | {did:,} | {ratio} |")


def _print_idle(again: Work, unchanged: Work) -> None:
    print("\n| nothing changed | the same dump again | a newer dump of the same content |\n|---|---|---|")
    print(f"| dumps, bytes | {again.dump_bytes:,} | {unchanged.dump_bytes:,} |")
    print(f"| requests but for dumps and covers (redirects) | {again.other_requests} | {unchanged.other_requests} |")
    nothing = Work()
    for (what, did, _), (_, did_unchanged, _) in zip(as_rows(again, nothing), as_rows(unchanged, nothing), strict=True):
        print(f"| {what} | {did:,} | {did_unchanged:,} |")


def _print_seconds(first: Work, *later: Work) -> None:
    print("\n| seconds | first | changed | newer, same content | same dump |\n|---|---|---|---|---|")
    for asset in first.seconds:
        cells = " | ".join(f"{work.seconds.get(asset, 0):.1f}" for work in (first, *later))
        print(f"| {asset} | {cells} |")
    print("| all | " + " | ".join(f"{_seconds(work):.1f}" for work in (first, *later)) + " |")


def _seconds(work: Work) -> float:
    return sum(work.seconds.values())


if __name__ == "__main__":
    main()
