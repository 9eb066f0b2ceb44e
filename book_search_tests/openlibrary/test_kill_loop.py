"""Runs killed at random moments, again and again: what they leave in the end is what an undisturbed run leaves.

`BOOK_SEARCH_TEST_KILLS` sets how many kills there are at least; `make kill-covers` asks for hundreds.
"""

import hashlib
import io
import multiprocessing
import os
import random
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from book_search import schemas
from book_search.cover_ranges import CoverRange, batch_key
from book_search.lake import PARTIAL, Lake, open_lake
from book_search.openlibrary.cover_files import covers_path, parts_of
from book_search.openlibrary.cover_parts import read_stored
from book_search.openlibrary.ledger import Status
from book_search.openlibrary.roads import ROADS, Road
from book_search.sample.server import BLANK, Content, Faults, SampleServer
from book_search.sample.zips import archive_zips
from book_search_tests.openlibrary.killed_fetch import fetch_until_killed

KILLS = int(os.environ.get("BOOK_SEARCH_TEST_KILLS", "30"))
COVER = re.compile(r"/b/id/([0-9]+)-M\.jpg")
RANGE = CoverRange.parse("0014_6")
FAULTS = Faults(seed=11, unavailable=0.03, broken=0.03)
RETRIED: tuple[tuple[Status, ...], ...] = ((), (), ("missing", "placeholder"), ("undecodable", "not_an_image"))
NOT_THE_SAME = {"attempts", "next_try", "fetched_at", "source_url", "image"}  # or compared apart


def _picture(seed: int) -> bytes:
    noise = Image.frombytes("RGB", (30, 40), random.Random(seed).randbytes(30 * 40 * 3))
    file = io.BytesIO()
    noise.save(file, "JPEG", quality=60)
    return file.getvalue()


def _library(round_number: int) -> dict[int, bytes | int]:
    """Covers of three batches, with errors and shared pictures among them."""
    rng = random.Random(round_number)
    pictures = [_picture(1000 * round_number + number) for number in range(70)]
    others: list[bytes | int] = [404, 410, BLANK, b"<html>later</html>", b"", pictures[0][:400]]
    ids = [first + 7 * number for first in (14_600_000, 14_620_000, 14_690_000) for number in range(36)]
    return {cover_id: rng.choice(others) if rng.random() < 0.2 else rng.choice(pictures) for cover_id in ids}


@pytest.fixture(scope="module")
def forking() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fetch_until_killed.__module__])
    return context


def _settled(lake: Lake, batches: Mapping[str, object], retried: Sequence[Status]) -> set[int]:
    """Ids of covers that are stored, of those that are not to be asked for again."""
    rows = [row for batch in batches for row in read_stored(lake, batch).rows.values()]
    return {row.cover_id for row in rows if row.status not in retried}


def _look(lake: Lake) -> None:
    """What a reader may see at any moment: whole files, whose rows and pictures agree."""
    for path in lake.names(f"covers/{RANGE.key}"):
        table = lake.read_table(path)
        assert table.schema.equals(schemas.COVERS)
        shown = {row["sha256"] for row in table.to_pylist() if row["status"] == "ok"}
        images = [image for image in table["image"].to_pylist() if image is not None]
        assert sorted(hashlib.sha256(image).hexdigest() for image in images) == sorted(shown)


def _outcome(lake: Lake, server: SampleServer, batches: Mapping[str, object]) -> dict[str, object]:
    """Rows, bytes and addresses of every batch, without what may differ: attempts, and times."""
    found: dict[str, object] = {}
    for batch in batches:
        table = lake.read_table(covers_path(batch))
        kept = [name for name in table.column_names if name not in NOT_THE_SAME]
        addresses = [address.removeprefix(server.url) for address in table["source_url"].to_pylist()]
        found[batch] = (table.select(kept).to_pylist(), addresses, table["image"].to_pylist())
    return found


def _leftovers(lake: Lake) -> list[Path]:
    return [path for path in Path(lake.root).rglob("*") if path.name.startswith(PARTIAL) or path.suffix == ".lock"]


@pytest.mark.parametrize("road", ROADS)
def test_killed_again_and_again_a_fetch_ends_as_if_undisturbed(
    road: Road, tmp_path: Path, forking: multiprocessing.context.ForkServerContext
) -> None:
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        rng, covers = random.Random(rounds), _library(rounds)
        wanted: dict[str, list[int]] = {}
        for cover_id in covers:
            wanted.setdefault(batch_key(cover_id), []).append(cover_id)
        content = Content(date(2026, 10, 31), {}, covers, zips=archive_zips(covers, "M"))
        with SampleServer(content, FAULTS) as server:
            retried = rng.choice(RETRIED)
            undisturbed = open_lake(str(tmp_path / f"undisturbed-{rounds}"))
            fetch_until_killed(undisturbed.root, server.url, wanted, road, retried, tmp_path / "paces")
            expected = _outcome(undisturbed, server, wanted)

            lake = open_lake(str(tmp_path / f"killed-{rounds}"))
            longest, stored = 0.03, set[int]()
            while True:
                server.forget()
                arguments = (lake.root, server.url, wanted, road, retried, tmp_path / "paces")
                child = forking.Process(target=fetch_until_killed, args=arguments)
                child.start()
                child.join(rng.uniform(0, longest))
                child.kill()
                child.join()
                asked = {int(found[1]) for each in server.asked if (found := COVER.fullmatch(each.path))}
                assert asked & stored == set()
                _look(lake)
                if child.exitcode == 0:
                    break
                kills += 1
                now_stored = _settled(lake, wanted, retried)
                assert stored <= now_stored
                longest = 0.03 if now_stored != stored else longest * 1.2  # so that it ends on a slow machine as well
                stored = now_stored

            assert _outcome(lake, server, wanted) == expected
            assert [parts_of(lake, batch) for batch in wanted] == [[]] * len(wanted)
            assert _leftovers(lake) == []
    print(f"{road}: {kills} kills in {rounds} rounds")
