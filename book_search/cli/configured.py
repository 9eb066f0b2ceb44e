"""What the commands work with, as the settings say: the lake, the database, the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from book_search.settings import load_settings

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.index.connection import Connection
    from book_search.lake import Lake


def lake() -> "Lake":
    """The lake at BOOK_SEARCH_HOME."""
    from book_search.lake import open_lake

    settings = load_settings()
    return open_lake(settings.home, settings.work_folder, settings.s3_endpoint)


@contextmanager
def connection() -> "Iterator[Connection]":
    """A connection to BOOK_SEARCH_DATABASE_URL, or to the embedded server, which runs at least as long."""
    from book_search.index.connection import connect, database

    settings = load_settings()
    with database(settings.dsn, settings.work_folder) as dsn, connect(dsn) as opened:
        yield opened


def clip() -> "Clip":
    """The model of BOOK_SEARCH_MODEL, loaded; some seconds, most of them imports."""
    from book_search.clip.model import load_clip

    settings = load_settings()
    return load_clip(settings.model, settings.model_revision, settings.device)
