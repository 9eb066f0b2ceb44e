"""The page served by a real uvicorn on loopback, over the search tests' library in Postgres and a lake of pictures."""

import hashlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from book_search.clip.encoder import Clip
from book_search.lake import Lake, open_lake
from book_search.search.engine import LoadClip
from book_search.settings import load_settings
from book_search.web.app import build_app
from book_search.web.library import TextsOf
from book_search_tests.clip.random_clip import cover, put_covers
from book_search_tests.database import *  # noqa: F403
from book_search_tests.search.conftest import PICTURE, clip, library, planted_dsn

__all__ = ["PICTURE", "clip", "library", "planted_dsn"]

# Pictures of the lake by cover id; 8 shows the same as 7, so its bytes lie beside 7's row.
PICTURES = {7: cover((20, 40, 160)), 9: cover((10, 90, 30), form="PNG"), 10: PICTURE}


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def keys(self) -> list[str]:
        """The editions found, best first."""
        return [hit["edition_key"] for hit in self.json["hits"]]


@dataclass(frozen=True)
class Browser:
    """Asks the server as a browser would, one connection a question."""

    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **fields: str | Sequence[str]) -> Answer:
        query = f"?{urllib.parse.urlencode(fields, doseq=True)}" if fields else ""
        return self.ask("GET", path + query)

    def post(self, path: str, picture: bytes | None = None, **fields: str) -> Answer:
        """A form as a browser sends it, with a picture or without."""
        boundary = uuid.uuid4().hex
        parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
        if picture is not None:
            head = b'form-data; name="image"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            parts.append(head + picture)
        lines = b"".join(b"--%b\r\nContent-Disposition: %b\r\n" % (boundary.encode(), part) for part in parts)
        body = lines + f"--{boundary}--\r\n".encode()
        return self.ask("POST", path, body, Content_Type=f"multipart/form-data; boundary={boundary}")


@contextmanager
def serving(dsn: str, load_clip: LoadClip, lake: Lake, texts_of: TextsOf | None = None) -> Iterator[Browser]:
    """A server of this library on a free port, for the length of the block."""
    app = build_app(load_settings(open_library_url="http://catalogue.example"), dsn, load_clip, lake, texts_of)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Browser(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def pictures_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the pictures of three covers, a fourth that shows one of them, and one that was never had."""
    lake = open_lake(str(tmp_path_factory.mktemp("lake")))
    rows = [(7, "ok", PICTURES[7]), (8, "ok", PICTURES[7]), (9, "ok", PICTURES[9]), (10, "ok", PICTURES[10])]
    put_covers(lake, "covers/0000_0/0000_00.parquet", [*rows, (11, "missing", None)])
    return lake


@pytest.fixture(scope="session")
def browser(planted_dsn: str, clip: Clip, pictures_lake: Lake) -> Iterator[Browser]:
    """A browser on the search tests' library of 400 books."""
    with serving(planted_dsn, lambda: clip, pictures_lake) as found:
        yield found


def etag(picture: bytes) -> str:
    return f'"{hashlib.sha256(picture).hexdigest()}"'
