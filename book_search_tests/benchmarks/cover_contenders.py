"""What `bench_covers` measures that is Python of this environment: each command is one contender, in a process alone.

    python -m book_search_tests.benchmarks.cover_contenders ours URL IDS FOLDER by_id

The last line that a contender prints is how many covers it had, and of how many bytes.
"""

import hashlib
import io
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import urllib3
from PIL import Image

from book_search.openlibrary.by_id import cover_url

UNLIMITED = 1e9  # requests a minute


def read_ids(path: Path) -> list[int]:
    """The cover ids of a list, one a line."""
    return [int(line) for line in path.read_text().split()]


def thrown_away(body: bytes) -> None:
    """Nothing is done with a body."""


def looked_at(body: bytes) -> None:
    """The least that can be called a check: hashed, and every pixel decoded. Raises what Pillow raises."""
    hashlib.sha256(body).hexdigest()
    with Image.open(io.BytesIO(body)) as image:
        image.load()


def floor(url: str, cover_ids: list[int], threads: int, take: Callable[[bytes], None]) -> tuple[int, int]:
    """The same HTTP client as ours in a bare loop, with nothing kept. Gives covers and bytes."""
    pool = urllib3.PoolManager(maxsize=threads, retries=False)
    left = (cover_url(url, cover_id, "L") for cover_id in cover_ids)
    lock, had = threading.Lock(), [0, 0]

    def ask() -> None:
        covers = taken = 0
        while True:
            with lock:
                address = next(left, None)
            if address is None:
                break
            body = pool.request("GET", address).data
            take(body)
            covers += 1
            taken += len(body)
        with lock:
            had[0] += covers
            had[1] += taken

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return had[0], had[1]


def download(addresses: Iterable[str]) -> tuple[int, int]:
    """Files read in pieces and thrown away. Gives their number and bytes."""
    pool, files, taken = urllib3.PoolManager(retries=False), 0, 0
    for address in addresses:
        with pool.request("GET", address, preload_content=False) as response:
            while piece := response.read(1 << 16):
                taken += len(piece)
        files += 1
    return files, taken


def ours(url: str, cover_ids: list[int], folder: Path, road: str) -> tuple[int, int]:
    """`fetch_range` into an empty lake, unlimited, with all its checks. Gives the covers that are ok, and bytes.

    Raises ValueError for a road that is none.
    """
    from book_search.cover_ranges import CoverRange, ranges_of
    from book_search.lake import open_lake
    from book_search.openlibrary.covers import Fetching, FetchReport, fetch_range
    from book_search.openlibrary.http import PoliteClient, user_agent
    from book_search.openlibrary.roads import ROADS, RoadRule

    (wanted_road,) = [each for each in ROADS if each == road]
    rule = RoadRule(archive_url=url, road=wanted_road, requests_per_minute=UNLIMITED)
    lake, report = open_lake(str(folder)), FetchReport()
    with PoliteClient(user_agent(None), url, requests_per_minute=UNLIMITED) as client:
        for cover_range in ranges_of(cover_ids):
            wanted = [cover_id for cover_id in cover_ids if CoverRange.of(cover_id) == cover_range]
            report += fetch_range(lake, cover_range, wanted, Fetching(client, url, "L", rule))
    return report.statuses.get("ok", 0), report.bytes


def zipfile_members(zips: Iterable[Path]) -> tuple[int, int]:
    """Every member of some local zips read by Python's zipfile, its CRC checked, and hashed. Gives covers and bytes."""
    covers = taken = 0
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                body = archive.read(name)
                hashlib.sha256(body).hexdigest()
                covers += 1
                taken += len(body)
    return covers, taken


def main() -> None:
    """Run one contender by name."""
    name, *asked = sys.argv[1:]
    if name in ("floor", "looking-floor"):
        take = thrown_away if name == "floor" else looked_at
        covers, taken = floor(asked[0], read_ids(Path(asked[1])), int(asked[2]), take)
    elif name == "ours":
        covers, taken = ours(asked[0], read_ids(Path(asked[1])), Path(asked[2]), asked[3])
    elif name == "download":
        covers, taken = download(asked)
    elif name == "zipfile":
        covers, taken = zipfile_members(map(Path, asked))
    else:
        raise SystemExit(f"no contender is named {name}")
    print(covers, taken)


if __name__ == "__main__":
    main()
