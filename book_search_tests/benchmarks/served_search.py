"""Questions put to `book-search serve` over HTTP, one after the other; knows the command, nothing of what it does."""

import http.client
import os
import re
import subprocess
import sysconfig
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"
READY = "texts are encoded in a quicker way"
READY_SECONDS = 60


def served(dsn: str, model: Path, warm_ups: Sequence[str], texts: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of each question, from a server that is ready: texts that it never had, and the same ones again.

    Raises:
        RuntimeError: it is not ready in a minute.
    """
    with tempfile.TemporaryDirectory() as home:
        settings = {"BOOK_SEARCH_HOME": home, "BOOK_SEARCH_DATABASE_URL": dsn, "BOOK_SEARCH_MODEL": str(model)}
        log = Path(home) / "log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [COMMAND, "serve", "--port", "0"],
                env=os.environ | settings | {"PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                assert process.stdout is not None
                said = re.search(r":(\d+) ", process.stdout.readline())
                if said is None:
                    raise RuntimeError(f"the server did not say where it is: {log.read_text()[-2000:]}")
                connection = http.client.HTTPConnection("127.0.0.1", int(said[1]), timeout=30)
                _until_ready(log)
                for text in warm_ups:
                    _ask(connection, f"{text} again")
                # The warm-ups' own words were asked for in no template yet.
                return {
                    "each text new": [_ask(connection, text) for text in dict.fromkeys(texts)],
                    "texts remembered": [_ask(connection, text) for text in texts],
                }
            finally:
                process.kill()


def _ask(connection: http.client.HTTPConnection, text: str) -> float:
    started = time.perf_counter()
    connection.request("GET", f"/api/search?{urllib.parse.urlencode({'q': text, 'words': text})}")
    response = connection.getresponse()
    body = response.read()
    took = time.perf_counter() - started
    if response.status != 200:
        raise RuntimeError(f"the server answered {response.status}: {body[:300]!r}")
    return took


def _until_ready(log: Path) -> None:
    for _ in range(READY_SECONDS * 10):
        if READY in log.read_text():
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not find a quicker way: {log.read_text()[-2000:]}")
