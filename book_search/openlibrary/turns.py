"""One process of this machine at a time asks a host for covers, so that its rate is the machine's.

A file lock, which the kernel gives back however a process ends.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)


@contextmanager
def one_process_at_a_time(folder: Path, url: str) -> Iterator[None]:
    """Wait until no other process with the same `folder` is in such a block for the host of `url`."""
    try:
        import fcntl
    except ImportError:  # Windows: a pool of one slot in Dagster's settings does the same
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    host = urlsplit(url).hostname or "host"
    with (folder / f"asking-{host.replace(':', '-')}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process is asking %s; waiting for it to end", host)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
