"""Who competes in `bench_covers`: the commands, what each needs, and how it is told how many covers each had.

Knows commands and what they leave behind; nothing of measuring and of tables.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from book_search_tests.benchmarks.cover_field import Field
from book_search_tests.benchmarks.measuring import Measured

IMG2DATASET = "1.47.0"
THREADS = 4  # as many as ours has
MODULE = "book_search_tests.benchmarks.cover_contenders"
BY_ID, BULK = "by id", "in bulk"
FLOORS = {BY_ID: f"floor: urllib3, {THREADS} threads, bodies thrown away", BULK: "floor: `unzip` of the local zip"}
OURS = {BY_ID: "**book_search**, by id", BULK: "**book_search**, whole zip"}


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        road: by id or in bulk.
        command: words in which the places of `words` are filled in; {scratch} is an empty folder.
        counts: how it is told how many covers it had: it `said` so, its `stats` do, or the `files` that it left;
            `nothing` where it was one file that was thrown away.
        missing: why it cannot compete, if so.
        environment: variables beside those of this process.
    """

    name: str
    road: str
    command: tuple[str, ...]
    counts: Literal["said", "stats", "files", "nothing"] = "said"
    missing: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether a failure of it is a failure of the benchmark."""
        return self.command[0] == sys.executable

    def words(self, covers: Field, url: str, scratch: Path) -> list[str]:
        """The command for so many covers, asked of the server at `url`."""
        places = {
            "url": url,
            "ids": covers.ids,
            "urls": covers.urls,
            "zipped_ids": covers.zipped_ids,
            "zip": covers.zip,
            "zip_url": covers.zip_url,
            "scratch": scratch,
        }
        return [word.format(**places) for word in self.command]


def contenders(venv: Path, missing: str | None) -> list[Contender]:
    """All of them.

    Args:
        venv: where img2dataset is.
        missing: why it is not, if so.
    """

    def python(name: str, road: str, *words: str, counts: Literal["said", "nothing"] = "said") -> Contender:
        return Contender(name, road, (sys.executable, "-m", MODULE, *words), counts)

    def img2dataset(name: str, *words: str) -> Contender:
        always = (str(venv / "bin" / "img2dataset"), "--url_list", "{urls}", "--output_folder", "{scratch}/out")
        # It would ask the package index for news, and draw progress bars.
        quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "TQDM_DISABLE": "1"}
        return Contender(f"img2dataset, {name}", BY_ID, (*always, *words), "stats", missing, quiet)

    # What is nearest to ours: bytes stay as they are, every picture is decoded, one file for many of them. Without
    # these it resizes to 256 pixels and encodes anew.
    kept = ("--resize_mode", "no", "--skip_reencode", "True", "--extract_exif", "False", "--output_format", "parquet")
    blind = ("--disable_all_reencoding", "True", "--extract_exif", "False", "--output_format", "parquet")
    four, many = ("--thread_count", str(THREADS)), ("--thread_count", "32")
    unzip = None if shutil.which("unzip") else "unzip is not installed"
    return [
        python(FLOORS[BY_ID], BY_ID, "floor", "{url}", "{ids}", str(THREADS)),
        python("the same, each hashed and decoded by Pillow", BY_ID, "looking-floor", "{url}", "{ids}", str(THREADS)),
        python(OURS[BY_ID], BY_ID, "ours", "{url}", "{ids}", "{scratch}", "by_id"),
        img2dataset(f"bytes kept, decoded, {THREADS} threads", *kept, *four),
        img2dataset("bytes kept, decoded, 32 threads", *kept, *many),
        img2dataset(f"bytes kept, not looked at, {THREADS} threads", *blind, *four),
        img2dataset("as it comes: resized, 256 threads, files"),
        Contender(FLOORS[BULK], BULK, ("unzip", "-q", "{zip}", "-d", "{scratch}"), "files", unzip),
        python("`zipfile` of the local zip, each hashed", BULK, "zipfile", "{zip}"),
        python("the zip downloaded and thrown away", BULK, "download", "{zip_url}", counts="nothing"),
        python(OURS[BULK], BULK, "ours", "{url}", "{zipped_ids}", "{scratch}", "bulk_whole"),
        python(
            "**book_search**, members of the zip by Range",
            BULK,
            "ours",
            "{url}",
            "{zipped_ids}",
            "{scratch}",
            "bulk_members",
        ),
    ]


def covers_had(contender: Contender, measured: Measured, scratch: Path, covers: Field) -> int:
    """How many covers a contender had."""
    if contender.counts == "stats":
        return sum(json.loads(path.read_text())["successes"] for path in (scratch / "out").glob("*_stats.json"))
    if contender.counts == "files":
        return sum(1 for path in scratch.rglob("*") if path.is_file())
    return covers.count if contender.counts == "nothing" else int(measured.said.split()[0])


def install_img2dataset(venv: Path) -> str | None:
    """Make an environment with img2dataset alone, since its pins are not ours; gives why there is none, if so."""
    marker = venv / f"img2dataset-{IMG2DATASET}"
    if marker.exists():
        return None
    print(f"installing img2dataset {IMG2DATASET} into {venv} ...", file=sys.stderr, flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", f"img2dataset=={IMG2DATASET}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return f"it could not be installed: {''.join(last)}"
    marker.touch()
    return None
