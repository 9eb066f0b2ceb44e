"""Members of a zip behind HTTP: which requests they cost, and what comes of zips that are not as they should be."""

import io
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from book_search.openlibrary.http import HostPausedError, PoliteClient, user_agent
from book_search.openlibrary.remote_file import RemoteFileError
from book_search.openlibrary.zip_reader import Member, NoRoomError, read_members, read_whole
from book_search.sample.server import NODE, Content, Faults, SampleServer
from book_search.sample.zips import zip_of

PATH = "/download/l_covers_0014/l_covers_0014_62.zip"
MOST = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


SMALL = {f"{number}.jpg": noise(2000 + number, number) for number in range(40)}
LARGE = {f"{number}.jpg": noise(60_000, number) for number in range(50)}  # 3 MB: more than the end that is asked for


@contextmanager
def serving(made: bytes | int, faults: Faults | None = None) -> Iterator[SampleServer]:
    with SampleServer(Content(date(2026, 10, 31), {}, {}, zips={PATH: made}), faults or Faults()) as server:
        yield server


def client(server: SampleServer, **options: float) -> PoliteClient:
    return PoliteClient(user_agent(None), server.url, requests_per_minute=60_000, backoff=0.01, **options)  # type: ignore[arg-type]


def by_range(server: SampleServer, names: list[str], gap: int = 0, held: tuple[str, ...] = ()) -> dict[str, Member]:
    with client(server) as asking:
        found = read_members(asking, server.url + PATH, dict(enumerate(names)), MOST, gap, held)
        return {names[each.key]: each for each in found}


def whole(server: SampleServer, names: list[str], folder: Path) -> dict[str, Member]:
    with client(server) as asking:
        found = read_whole(asking, server.url + PATH, dict(enumerate(names)), MOST, folder)
        return {names[each.key]: each for each in found}


def bodies(found: Mapping[str, Member]) -> dict[str, bytes | None]:
    return {name: member.body for name, member in found.items()}


@pytest.mark.parametrize("deflated", [False, True], ids=["stored", "deflated"])
@pytest.mark.parametrize("zip64", [False, True], ids=["zip", "zip64"])
@pytest.mark.parametrize("comment", [b"", b"PK" + b"a comment" * 7000], ids=["bare", "commented"])
def test_every_form_of_a_zip_gives_the_same_members(
    deflated: bool, zip64: bool, comment: bytes, tmp_path: Path
) -> None:
    with serving(zip_of(LARGE, deflated=deflated, zip64=zip64, comment=comment)) as server:
        assert bodies(by_range(server, list(LARGE), gap=MOST)) == LARGE
        assert bodies(whole(server, list(LARGE), tmp_path)) == LARGE


def test_members_cost_the_redirect_the_directory_and_one_request_each(tmp_path: Path) -> None:
    made = zip_of(LARGE)
    with serving(made) as server:
        found = by_range(server, ["3.jpg", "7.jpg"])

        assert bodies(found) == {"3.jpg": LARGE["3.jpg"], "7.jpg": LARGE["7.jpg"]}
        assert [(each.path, each.status) for each in server.asked] == [
            (PATH, 302),
            (NODE + PATH, 206),  # the end, asked for through the redirect
            (NODE + PATH, 206),
            (NODE + PATH, 206),
        ]
        assert sum(each.sent for each in server.asked) <= (1 << 20) + 2 * (60_000 + 100)


def test_neighbours_are_read_at_once_and_gaps_only_where_they_are_small() -> None:
    with serving(zip_of(LARGE)) as server:
        by_range(server, ["3.jpg", "4.jpg", "5.jpg"])
        assert len(server.asked) == 3
        server.forget()

        by_range(server, ["3.jpg", "5.jpg"], gap=61_000)
        assert len(server.asked) == 3
        server.forget()

        by_range(server, ["3.jpg", "5.jpg"], gap=59_000)
        assert len(server.asked) == 4


def test_what_is_held_is_not_read_again_to_save_a_request() -> None:
    with serving(zip_of(LARGE)) as server:
        found = by_range(server, ["3.jpg", "5.jpg"], gap=61_000, held=("4.jpg",))

        assert bodies(found) == {"3.jpg": LARGE["3.jpg"], "5.jpg": LARGE["5.jpg"]}
        assert len(server.asked) == 4
        assert sum(each.sent for each in server.asked) <= (1 << 20) + 2 * (60_000 + 100)


def test_a_small_zip_comes_with_its_directory_in_one_part() -> None:
    with serving(zip_of(SMALL)) as server:
        assert bodies(by_range(server, list(SMALL))) == SMALL
        assert [each.status for each in server.asked] == [302, 206]


def test_a_long_directory_costs_one_more_request() -> None:
    many = {f"{number:0200d}.jpg": b"x" for number in range(6000)}  # 1.5 MB of directory
    with serving(zip_of(many)) as server:
        found = by_range(server, [f"{number:0200d}.jpg" for number in (0, 5999)])

        assert set(bodies(found).values()) == {b"x"}
        assert [each.status for each in server.asked] == [302, 206, 206, 206, 206]  # two of them for members


def test_a_whole_zip_costs_the_redirect_and_one_request_and_leaves_nothing_behind(tmp_path: Path) -> None:
    made = zip_of(LARGE)
    with serving(made) as server:
        assert bodies(whole(server, ["3.jpg", "gone.jpg"], tmp_path)) == {"3.jpg": LARGE["3.jpg"], "gone.jpg": None}

        assert [each.status for each in server.asked] == [302, 200]
        assert sum(each.sent for each in server.asked) == len(made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("road", ["range", "whole"])
def test_members_that_cannot_be_had_say_why(road: str, tmp_path: Path) -> None:
    members = LARGE | {"empty.jpg": b"", "huge.jpg": bytes(MOST + 1)}
    names = ["1.jpg", "2.jpg", "empty.jpg", "huge.jpg", "absent.jpg"]
    with serving(zip_of(members, broken=["2.jpg"])) as server:
        found = by_range(server, names) if road == "range" else whole(server, names, tmp_path)

    assert bodies(found) == dict.fromkeys(names) | {"1.jpg": LARGE["1.jpg"]}
    assert "Bad CRC-32" in found["2.jpg"].problem
    assert [found[name].problem for name in names[2:]] == [
        "it has no bytes",
        "it is too large",
        "it is not in the zip",
    ]


@pytest.mark.parametrize("road", ["range", "whole"])
@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_members_that_would_be_unpacked_whatever_their_size_are_left(packed: int, road: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as archive:
        archive.writestr("bomb.jpg", bytes(60 * MOST))
    made = bytearray(file.getvalue())
    at = made.index(b"PK\x01\x02")
    made[at + 24 : at + 28] = struct.pack("<I", 1000)  # its size, the directory says
    names = ["bomb.jpg"]

    with serving(bytes(made)) as server:
        tracemalloc.start()
        found = by_range(server, names) if road == "range" else whole(server, names, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert found["bomb.jpg"].problem == "it is packed in a way that is not unpacked here"
    assert peak < 20 * MOST


@pytest.mark.parametrize("road", ["range", "whole"])
def test_a_directory_without_end_is_not_read(road: str, tmp_path: Path) -> None:
    directory = (b"PK\x01\x02" + bytes(42)) * 400_000
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    with serving(b"PK\x03\x04" + directory + end) as server, pytest.raises(RemoteFileError):
        by_range(server, ["1.jpg"]) if road == "range" else whole(server, ["1.jpg"], tmp_path)


@pytest.mark.parametrize("road", ["range", "whole"])
def test_members_outside_of_the_zip_are_broken(road: str, tmp_path: Path) -> None:
    made = zip_of(LARGE)
    with serving(made[:-6] + b"\xff\xff\xff\x7e" + made[-2:]) as server:  # where its directory begins, it says
        found = by_range(server, ["1.jpg"]) if road == "range" else whole(server, ["1.jpg"], tmp_path)

    assert found["1.jpg"].problem.startswith("it is broken")


def damaged(name: str) -> bytes | int:
    made = zip_of(LARGE)
    damages: dict[str, bytes | int] = {
        "absent": 404,
        "error page": b"<html><body>Item not available</body></html>",
        "empty": b"",
        "cut off": made[:-40],
        "directory zeroed": made[:-3000] + bytes(2900) + made[-100:],
    }
    return damages[name]


@pytest.mark.parametrize("road", ["range", "whole"])
@pytest.mark.parametrize("name", ["absent", "error page", "empty", "cut off", "directory zeroed"])
def test_what_is_no_zip_is_an_error_that_says_so(name: str, road: str, tmp_path: Path) -> None:
    with serving(damaged(name)) as server, pytest.raises(RemoteFileError):
        by_range(server, ["1.jpg"]) if road == "range" else whole(server, ["1.jpg"], tmp_path)


def test_an_error_page_is_not_asked_for_again(tmp_path: Path) -> None:
    with serving(damaged("error page")) as server:
        with pytest.raises(RemoteFileError, match="is no zip: it begins with"):
            whole(server, ["1.jpg"], tmp_path)
        assert len(server.asked) == 2


def test_refusals_and_breaks_are_gone_on_from(tmp_path: Path) -> None:
    made = zip_of(LARGE)
    faults = Faults(seed=3, unavailable=0.3, broken=0.7)
    with serving(made, faults) as server:
        assert bodies(whole(server, list(LARGE), tmp_path)) == LARGE
        downloads = [each for each in server.asked if each.path == NODE + PATH and each.status in (200, 206)]
    with serving(made, faults) as server:
        assert bodies(by_range(server, list(LARGE), gap=MOST)) == LARGE

    assert len(downloads) > 1
    assert all(each.range for each in downloads[1:])  # the rest of it, not the whole once more
    assert sum(each.sent for each in downloads) == len(made)


def test_a_node_that_fails_is_left_for_the_archives_own_address() -> None:
    zips: dict[str, bytes | int] = {PATH: zip_of(LARGE)}
    with SampleServer(Content(date(2026, 10, 31), {}, {}, zips=zips)) as server, client(server) as asking:
        members = read_members(asking, server.url + PATH, {1: "1.jpg", 9: "9.jpg"}, MOST, 0)
        first = next(members)
        zips[PATH] = 404
        with pytest.raises(RemoteFileError, match="404"):
            next(members)

        assert first.body == LARGE["1.jpg"]
        assert [each.path for each in server.asked][-2:] == [NODE + PATH, PATH]


def test_a_host_that_asks_for_a_long_pause_gets_it(tmp_path: Path) -> None:
    with serving(zip_of(SMALL), Faults(seed=1, throttled=1.0, retry_after=3600)) as server:
        with pytest.raises(HostPausedError):
            by_range(server, ["1.jpg"])
        with pytest.raises(HostPausedError):
            whole(server, ["1.jpg"], tmp_path)
        assert len(server.asked) == 2


def test_a_zip_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("book_search.openlibrary.zip_reader.ROOM_LEFT", 1 << 60)
    with serving(zip_of(SMALL)) as server, pytest.raises(NoRoomError, match="has room for 0"):
        whole(server, ["1.jpg"], tmp_path)
