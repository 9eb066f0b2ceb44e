"""`make bench-index`: the index of Postgres and pgvector side by side with floors and others; chooses the parts.

Knows the options; what is measured is in `bench_index_load` and `bench_index_search`.
"""

import argparse
import tempfile
from pathlib import Path

from book_search_tests.benchmarks import bench_index_load, bench_index_search


def main() -> None:
    """Run the parts that were asked for, the larger sizes last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 70_000], help="1000000 takes half an hour")
    parser.add_argument("--part", choices=["load", "search", "all"], default="all")
    parser.add_argument("--changes", type=float, nargs="*", default=[0.01, 0.05, 0.1, 0.2], help="shares of the covers")
    parser.add_argument("--vacuum", type=float, nargs="*", default=[0.01], help="shares after which VACUUM is measured")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="of the loads, on the disk to be measured"
    )
    parser.add_argument(
        "--kept", type=Path, default=bench_index_search.FOLDER, help="vectors, other databases, results"
    )
    asked = parser.parse_args()
    sizes = sorted(asked.rows)
    if asked.part in ("load", "all"):
        bench_index_load.run(sizes, asked.folder, asked.changes, asked.vacuum)
    if asked.part in ("search", "all"):
        print("\n## Searching: the largest size, warm\n")
        print(bench_index_search.tables(bench_index_search.compare_search(sizes[-1], folder=asked.kept.resolve())))


if __name__ == "__main__":
    main()
