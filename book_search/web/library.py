"""The library behind the page: one database, one model, and the questions put to them.

Knows the search, threads and connections; nothing of HTTP or HTML.
"""

import io
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread
from PIL import Image
from psycopg import Error as DatabaseError

from book_search.clip.model import ModelMismatchError, ModelUnavailableError
from book_search.clip.preprocessing import BROKEN, FORMATS
from book_search.clip.texts import LazyTexts, quickened
from book_search.index.connection import Connection, DatabaseUnreachableError
from book_search.index.models import active_model
from book_search.search.engine import LoadClip, NothingToSearchError, search
from book_search.search.query import Query
from book_search.search.results import Results
from book_search.web.connections import ReadingConnections
from book_search.web.question import Question

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

TextsOf = Callable[[LoadClip], LazyTexts]  # the half that reads texts, or the whole, which it can ask for

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

CONNECTIONS = 16  # at once; the embedded server has 60 for all who use it
READY_SECONDS = 5  # that an end waits for what is being made ready: torch is not to be left in the midst of its import
MOST_PIXELS = 64_000_000  # of a picture asked by: a large camera's, and some 200 MB once decoded


class TooLargePictureError(ValueError):
    """A picture of more pixels than we decode for anybody."""


class Library:
    """Answers questions in threads, so that a slow one holds up nobody else's page.

    Questions with a picture take turns, since the model that sees uses every core as it is.
    """

    def __init__(self, dsn: str, load_clip: LoadClip, texts_of: TextsOf | None = None) -> None:
        self._connections = ReadingConnections(dsn)
        self._load_clip = load_clip
        self._texts_of = texts_of
        self._clip: Clip | None = None
        self._texts: LazyTexts | None = None
        self._loading, self._loading_texts = threading.Lock(), threading.Lock()
        self._picture_turn = CapacityLimiter(1)
        self._threads = CapacityLimiter(CONNECTIONS - 1)
        self._warming: threading.Thread | None = None
        self._closed = threading.Event()

    def warm_up(self, engine: str) -> None:
        """Begin, in a thread of its own, with what the first questions would wait for; later ones are quicker, too.

        Args:
            engine: as `texts.quickened` takes it.
        """
        self._warming = threading.Thread(target=self._make_ready, args=[engine], name="warm-up", daemon=True)
        self._warming.start()

    def ready(self, timeout: float | None = None) -> bool:
        """Wait until nothing more is being made ready; False if the time, in seconds, is over before."""
        if self._warming is not None:
            self._warming.join(timeout)
        return self._warming is None or not self._warming.is_alive()

    def close(self) -> None:
        """Let go of the database."""
        self._closed.set()
        self.ready(READY_SECONDS)
        self._connections.close()

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

        return await self._in_thread(ask, sees=bool(query.images))

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

    async def _in_thread(self, ask: Callable[[Connection], Answer], sees: bool = False) -> Answer:
        def run() -> Answer:
            with self._connections.lend() as connection:
                return ask(connection)

        return await to_thread.run_sync(run, limiter=self._picture_turn if sees else self._threads)

    def _make_ready(self, engine: str) -> None:
        """A question as anybody's; then a quicker way for texts, where there is one."""
        for step in (self._ask_one, lambda: self._quicken(engine)):
            if self._closed.is_set():
                return
            try:
                step()
            except (NothingToSearchError, ModelMismatchError, ModelUnavailableError, ValueError) as error:
                logger.info("not ready for questions yet: %s", error)
            except (DatabaseUnreachableError, DatabaseError) as error:
                logger.info("the database is not ready for questions yet: %s", error)

    def _ask_one(self) -> None:
        with self._connections.lend() as connection:
            search(connection, self._clip_once, Query(texts=["a book"], words="a book"), load_texts=self._texts_once)

    def _quicken(self, engine: str) -> None:
        started = time.monotonic()
        texts = self._texts_once()
        if (quicker := quickened(texts, engine)) is not texts:
            self._texts = quicker
            logger.info("texts are encoded in a quicker way, made ready in %.1f s", time.monotonic() - started)

    def _clip_once(self) -> "Clip":
        with self._loading:
            if self._clip is None:
                started = time.monotonic()
                self._clip = self._load_clip()
                logger.info("loaded the model in %.1f s", time.monotonic() - started)
            return self._clip

    def _texts_once(self) -> LazyTexts:
        with self._loading_texts:
            if self._texts is None:
                self._texts = self._texts_of(self._clip_once) if self._texts_of else self._texts_of_whole()
            return self._texts

    def _texts_of_whole(self) -> LazyTexts:
        clip = self._clip_once()
        return LazyTexts(clip.description, lambda: clip)


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
