"""What the commands work with, as the settings say: the lake, the database, the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from book_search.settings import load_settings

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.clip.texts import LazyTexts
    from book_search.index.connection import Connection
    from book_search.lake import Lake
    from book_search.openlibrary.limits import Window
    from book_search.openlibrary.roads import RoadRule


def lake() -> "Lake":
    """The lake at BOOK_SEARCH_HOME."""
    from book_search.lake import open_lake

    settings = load_settings()
    return open_lake(settings.home, settings.work_folder, settings.s3_endpoint, settings.s3_encryption)


def road_rule() -> "RoadRule":
    """By what the road to a batch's covers is chosen."""
    from book_search.openlibrary.roads import RoadRule

    settings = load_settings()
    return RoadRule(settings.archive_url, settings.covers_road, settings.bulk_share, settings.requests_per_minute)


def off_peak() -> "Window | None":
    """The hours in which covers are asked for; None for all."""
    from book_search.openlibrary.limits import Window

    settings = load_settings()
    return Window.parse(settings.off_peak, settings.time_zone) if settings.off_peak else None


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
    return load_clip(settings.model, settings.model_revision, settings.device, settings.crop, settings.engine)


def texts(load_whole: "Callable[[], Clip]" = clip) -> "LazyTexts":
    """The half of that model that reads texts; for a CLIP a tenth of a second, without torch.

    Args:
        load_whole: gives the whole model, where its texts cannot be had alone.
    """
    from book_search.clip.texts import load_texts

    settings = load_settings()
    return load_texts(settings.model, settings.model_revision, settings.crop, load_whole)
