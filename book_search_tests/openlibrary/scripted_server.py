"""A loopback server whose answers a test writes down: each path has a list of them, the last of which repeats."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What is sent. `length` replaces the true Content-Length; `chunked` sends none.

    `pause` is waited before every byte of the body.
    """

    status: int = 200
    body: bytes = b"a body"
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    chunked: bool = False
    pause: float = 0.0


@dataclass
class ScriptedServer:
    """Answers as `script` says; an unknown path answers 404. `asked` holds (monotonic seconds, path, headers)."""

    url: str
    script: dict[str, list[Answer]]
    asked: list[tuple[float, str, dict[str, str]]]

    def times(self, path: str) -> list[float]:
        """When a path was asked."""
        return [at for at, each, _ in self.asked if each == path]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A server for the length of the block."""
    script: dict[str, list[Answer]] = defaultdict(lambda: [Answer(404)])
    asked: list[tuple[float, str, dict[str, str]]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with lock:
                asked.append((time.monotonic(), self.path, dict(self.headers)))
                answers = script[self.path]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            if answer.chunked:
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer.body), answer.body))
            elif answer.pause:
                for byte in answer.body:
                    time.sleep(answer.pause)
                    self.wfile.write(bytes([byte]))
            else:
                self.wfile.write(answer.body)
            if answer.length is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield ScriptedServer(f"http://127.0.0.1:{server.server_port}", script, asked)
    finally:
        server.shutdown()
        server.server_close()
