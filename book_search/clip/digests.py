"""The content of some files as one sha256, computed once for as long as the files stay as they are.

Knows files and a cache folder of the user's; nothing of models. A large model takes half a second to read, and every
command that compares models would read it.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

WORTH_KEEPING = 50_000_000  # bytes; less is read sooner than one would wonder
BLOCK = 1 << 20

# A file's path, its size, and what else changes when anybody writes to it or puts another in its place.
Stamp = tuple[str, int, int, int, int]


def digest_of_files(paths: Iterable[Path], cache: Path | None = None) -> str:
    """The sha256 over names, sizes and contents of files, as 64 hexadecimal digits.

    It is remembered in this process, and for large files in `cache`, under all that the file system tells of a change:
    size, time of writing, time of change (which no program sets) and inode.

    Args:
        paths: in the order that counts.
        cache: a folder for what is remembered. Default: the user's cache folder.
    """
    stats = [(path, path.stat()) for path in paths]
    stamps = tuple((str(path.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in stats)
    return _remembered(stamps, tuple(str(path) for path, _ in stats), cache or _users_cache())


@lru_cache(maxsize=16)
def _remembered(stamps: tuple[Stamp, ...], paths: tuple[str, ...], cache: Path) -> str:
    if sum(size for _, size, *_ in stamps) < WORTH_KEEPING:
        return _computed(paths)
    kept = cache / hashlib.sha256(repr((paths, stamps)).encode()).hexdigest()
    try:
        known = kept.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    if len(known) == 64 and set(known) <= set("0123456789abcdef"):
        return known
    digest = _computed(paths)
    _keep(kept, digest)
    return digest


def _computed(paths: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{Path(path).name}\0{Path(path).stat().st_size}\0".encode())
        with Path(path).open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _keep(path: Path, digest: str) -> None:
    """Written whole or not at all; where nothing can be written, nothing is remembered."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(digest)
        os.replace(name, path)
    except OSError:
        return


def _users_cache() -> Path:
    return Path(os.path.expanduser("~/.cache/book_search/digests"))
