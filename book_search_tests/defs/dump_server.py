"""A loopback server that says which dumps are published, as Open Library and the archive do, and sends no body."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("editions", "works", "authors", "redirects")


@dataclass
class Published:
    """What is published, changed by a test as it goes: date and bytes by kind; a kind that is not here answers 404.

    Attributes:
        trickling: kinds whose answer comes a byte at a time, without end.
        asked: (method, path) of each request.
    """

    url: str
    dumps: dict[str, tuple[str, int]] = field(default_factory=dict)
    trickling: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def publish(self, date: str, size: int = 5_000, kinds: tuple[str, ...] = KINDS) -> None:
        """Have these kinds be of this date."""
        self.dumps |= dict.fromkeys(kinds, (date, size))


@contextmanager
def dump_server() -> Iterator[Published]:
    """A server for the length of the block; nothing is published yet."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            published.asked.append((self.command, self.path))
            kind = next(each for each in KINDS if f"ol_dump_{each}_" in self.path)
            if kind in published.trickling:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not stopped.wait(0.05):
                    self.wfile.write(b"z")
                return
            date, size = published.dumps.get(kind, ("", 0))
            if not date:
                self.send_response(404)
            elif self.path.startswith("/data/"):
                self.send_response(302)
                self.send_header("Location", f"/download/ol_dump_{date}/ol_dump_{kind}_{date}.txt.gz")
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(size))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    published = Published(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield published
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
