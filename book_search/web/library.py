"""The library behind the page: one database, one model, and the questions put to them.

Knows the search, threads and connections; nothing of HTTP or HTML.
"""

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread
from PIL import Image

from book_search.clip.preprocessing import BROKEN, FORMATS
from book_search.index.connection import Connection, connect
from book_search.index.models import active_model
from book_search.search.engine import LoadClip, NothingToSearchError, search
from book_search.search.results import Results
from book_search.web.question import Question

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.clip.texts import TextEncoder

TextsOf = Callable[[LoadClip], "TextEncoder"]  # the half that reads texts, or the whole, which it can ask for

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

STATEMENT_SECONDS = 10  # as for book_search_reader: nobody waits longer for a page
CONNECTIONS = 16  # at once; the embedded server has 60 for all who use it
MOST_PIXELS = 64_000_000  # of a picture asked by: a large camera's, and some 200 MB once decoded


class TooLargePictureError(ValueError):
    """A picture of more pixels than we decode for anybody."""


class Library:
    """Answers questions in threads, so that a slow one holds up nobody else's page.

    Questions that need the model take turns: it uses every core as it is, and transformers' tokenizers, which pad by
    changing themselves, may not be shared between threads (CLIP's own, `clip.tokens`, may). That makes loading each
    half once safe, too.
    """

    def __init__(self, dsn: str, load_clip: LoadClip, texts_of: TextsOf | None = None) -> None:
        self._dsn = dsn
        self._load_clip = load_clip
        self._texts_of = texts_of
        self._clip: Clip | None = None
        self._texts: TextEncoder | None = None
        self._model_turn = CapacityLimiter(1)
        self._threads = CapacityLimiter(CONNECTIONS - 1)

    async def search(self, question: Question) -> Results:
        """The answer to a question. Each half of the model is loaded when the first one needs it.

        Raises:
            ValueError: it makes no sense; TooLargePictureError is one.
            UnknownBookError, NothingToSearchError, ModelMismatchError, UndecodableImageError: as `engine.search`.
            ModelUnavailableError: as `load_clip`; the next question tries again.
            DatabaseUnreachableError, psycopg.OperationalError: the database does not answer, or not in time.
        """
        query, limit, filters = question.query(), question.limit, question.filters()

        def ask(connection: Connection) -> Results:
            for image in question.images:
                _refuse_huge(image)
            return search(connection, self._clip_once, query, limit, filters, load_texts=self._texts_once)

        return await self._in_thread(ask, needs_model=bool(query.texts or query.images or query.avoids))

    async def titles(self, edition_keys: list[str]) -> dict[str, str]:
        """The titles of the books that are there, by edition key."""

        def ask(connection: Connection) -> dict[str, str]:
            statement = "SELECT edition_key, title FROM book WHERE edition_key = ANY (%s)"
            return dict(connection.execute(statement, [edition_keys]).fetchall())

        return await self._in_thread(ask) if edition_keys else {}

    async def model(self) -> str:
        """The model whose vectors are searched. Raises NothingToSearchError where no index is built."""

        def ask(connection: Connection) -> str:
            known = connection.execute("SELECT to_regclass('embedding_model') IS NOT NULL").fetchone()
            model = active_model(connection) if known and known[0] else None
            if model is None:
                raise NothingToSearchError("there is nothing to search yet: no index is built")
            return model.model_id

        return await self._in_thread(ask)

    async def _in_thread(self, ask: Callable[[Connection], Answer], needs_model: bool = False) -> Answer:
        def run() -> Answer:
            with _reading(self._dsn) as connection:
                return ask(connection)

        return await to_thread.run_sync(run, limiter=self._model_turn if needs_model else self._threads)

    def _clip_once(self) -> "Clip":
        if self._clip is None:
            started = time.monotonic()
            self._clip = self._load_clip()
            logger.info("loaded the model in %.1f s", time.monotonic() - started)
        return self._clip

    def _texts_once(self) -> "TextEncoder":
        if self._texts is None:
            self._texts = self._texts_of(self._clip_once) if self._texts_of else self._clip_once()
        return self._texts


@contextmanager
def _reading(dsn: str) -> Iterator[Connection]:
    """A connection that can change nothing and gives up slow statements; opening one takes a few milliseconds."""
    with connect(dsn) as connection:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{STATEMENT_SECONDS}s"])
        connection.execute("SET default_transaction_read_only = on")
        yield connection


def _refuse_huge(picture: bytes) -> None:
    """Raise TooLargePictureError by what the header says, before anything is decoded."""
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            size = image.size
    except Image.DecompressionBombError:
        raise TooLargePictureError("the picture has more pixels than this server decodes") from None
    except BROKEN:
        return  # the model's own decoder will say what is wrong
    if size[0] * size[1] > MOST_PIXELS:
        raise TooLargePictureError(
            f"the picture has {size[0]} x {size[1]} pixels; this server decodes {MOST_PIXELS // 10**6} million at most"
        )
