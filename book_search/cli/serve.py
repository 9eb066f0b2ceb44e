"""The command that serves the search page: holds the database, opens the port, and says where."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from book_search.cli import configured

LOOPBACK = ("127.", "::1")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is every network.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
def serve(host: str, port: int) -> None:
    """Serve the search page and its JSON API until Ctrl-C.

    \b
      book-search serve
      curl 'http://127.0.0.1:8000/api/search?q=a+ship&limit=3'
      curl -F image=@photo.jpg http://127.0.0.1:8000/api/search
    """
    # Before numpy is there: two threads of a few small products wait for each other wherever something else computes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        import python_multipart  # noqa: F401 - starlette misses it only when the first form arrives
        import uvicorn

        from book_search.web.app import build_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "anyio", "python_multipart"}:
            raise
        raise click.ClickException(
            f"the search page needs {error.name}, which is not installed: pip install 'book_search[web]'"
        ) from None
    from book_search.index.connection import database
    from book_search.settings import load_settings

    settings = load_settings()

    with _listening(host, port) as listener:
        _end_as_by_ctrl_c()
        with database(settings.dsn, settings.work_folder) as dsn:
            app = build_app(settings, dsn, configured.clip, configured.lake(), configured.texts, warm=True)
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
            click.echo(f"Books by their covers: {_address(listener)}   (Ctrl-C ends it)")
            if not listener.getsockname()[0].startswith(LOOPBACK):
                click.echo("Anybody who reaches this address can search here: there are no accounts.", err=True)
            server.run(sockets=[listener])


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound before anything slow begins: a port in use is told at once."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python says the address there once more
        raise click.ClickException(
            f"cannot listen on {host}, port {port} ({reason}); --host and --port say where"
        ) from None
    with listener:
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _end_as_by_ctrl_c() -> None:
    """Have SIGTERM, too, unwind what is open: an embedded database is stopped by its last user."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
