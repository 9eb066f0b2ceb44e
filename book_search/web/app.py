"""The web application: which address answers what, and how each error is told.

Knows HTTP; what is asked is `question`'s part, the answer `library`'s, the page `page`'s.
"""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread
from psycopg.errors import DataError, OperationalError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from book_search.clip.model import ModelMismatchError, ModelUnavailableError
from book_search.clip.preprocessing import UndecodableImageError
from book_search.index.connection import DatabaseUnreachableError
from book_search.lake import Lake
from book_search.search.engine import LoadClip, NothingToSearchError, UnknownBookError
from book_search.search.query import parse_edition_key
from book_search.search.results import Results
from book_search.settings import Settings
from book_search.web.covers import find_cover, media_type, read_picture
from book_search.web.guards import BoundedBody, SafeHeaders
from book_search.web.library import Library, TextsOf, TooLargePictureError
from book_search.web.page import render
from book_search.web.question import Question

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MOST_UPLOADED = 10 * 2**20  # bytes of pictures in one question; phones take some 5 MB
FORM_ROOM = 2**16  # bytes for the other fields and what divides them
MOST_FILES, MOST_FIELDS = 4, 64
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
COVER_FILE = re.compile(r"([0-9]{1,10})\.jpg")  # Open Library writes ids with ten digits at most
# A cover's id keeps its meaning, but another lake may be served at this address tomorrow.
COVER_AGE = "public, max-age=86400, stale-while-revalidate=2592000"

# What is expected to go wrong, and whose doing it is: the asker's (4..), or the house's (503). First match counts.
STATUSES: Mapping[type[Exception], int] = {
    UnknownBookError: 404,
    TooLargePictureError: 413,
    UndecodableImageError: 415,
    ValueError: 400,
    NothingToSearchError: 503,
    ModelMismatchError: 503,
    ModelUnavailableError: 503,
    DatabaseUnreachableError: 503,
    OperationalError: 503,
    DataError: 400,
}
EXPECTED = tuple(STATUSES)

Handler = Callable[[Request], Awaitable[Response]]


def build_app(
    settings: Settings,
    dsn: str,
    load_clip: LoadClip,
    lake: Lake,
    texts_of: TextsOf | None = None,
    warm: bool = False,
) -> Starlette:
    """The page at `/`, the JSON API under `/api`, the covers under `/cover`, and `/healthz`.

    Args:
        settings: says where Open Library is, for links to its pages.
        dsn: the database's address. It is read only.
        load_clip: gives the model; called once, when the first question needs it.
        lake: where the covers' pictures are.
        texts_of: gives the half of the model that reads texts, which is there sooner.
        warm: whether to begin at once, beside the first questions, with what makes later ones quicker.
    """
    library = Library(dsn, load_clip, texts_of)
    rooms = _Rooms(library, lake, settings.open_library_url)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if warm:
            library.warm_up(settings.engine)
        yield
        await to_thread.run_sync(library.close)

    return Starlette(
        routes=[
            Route("/", rooms.page, methods=["GET", "POST"]),
            Route("/api/search", rooms.api_search, methods=["GET", "POST"]),
            Route("/api/similar/{edition_key}", rooms.api_similar),
            Route("/cover/{file}", rooms.cover),
            Route("/healthz", rooms.health),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(SafeHeaders), Middleware(BoundedBody, most=MOST_UPLOADED + FORM_ROOM)],
        lifespan=lifespan,
        exception_handlers={HTTPException: rooms.refusal, Exception: rooms.failure},
    )


class _Rooms:
    """The answer of each address."""

    def __init__(self, library: Library, lake: Lake, open_library_url: str) -> None:
        self.library, self.lake, self.open_library_url = library, lake, open_library_url

    async def page(self, request: Request) -> Response:
        """The page: empty, or with the answer to its form or to the address's fields. Says what is wrong itself."""
        question, liked = Question(), dict[str, str]()
        try:
            question = await _question(request)
            liked = await self._liked(question)
            results = await self.library.search(question) if question.asks else None
        except EXPECTED as error:
            status, said = _told(error)
            html = render(question, liked, error=said, open_library_url=self.open_library_url)
            return HTMLResponse(html, status)
        return HTMLResponse(render(question, liked, results, open_library_url=self.open_library_url))

    async def api_search(self, request: Request) -> Response:
        """The answer as JSON, to fields in the address or in a form."""
        return await self._api(request, ())

    async def api_similar(self, request: Request) -> Response:
        """The books with covers like this one's, as JSON; limit and filters as of a search."""
        return await self._api(request, (("like", request.path_params["edition_key"]),))

    async def cover(self, request: Request) -> Response:
        """A cover's picture, as it was fetched."""
        named = COVER_FILE.fullmatch(request.path_params["file"])
        shelf = await to_thread.run_sync(find_cover, self.lake, int(named[1])) if named else None
        if shelf is None:
            raise HTTPException(404, "there is no such cover here")
        headers = {"ETag": f'"{shelf.sha256}"', "Cache-Control": COVER_AGE}
        if _is_known(request.headers.get("if-none-match", ""), shelf.sha256):
            return Response(status_code=304, headers=headers)
        picture = await to_thread.run_sync(read_picture, self.lake, shelf)
        if picture is None:
            raise HTTPException(404, "there is no such cover here")
        return Response(picture, media_type=media_type(picture), headers=headers)

    async def health(self, request: Request) -> Response:
        """Whether the database answers and can be searched."""
        try:
            return JSONResponse({"status": "ok", "model": await self.library.model()})
        except EXPECTED as error:
            return _refused(*_told(error))

    async def refusal(self, request: Request, error: Exception) -> Response:
        """What the framework refuses: an address that is not there, a method, a body that is too large."""
        assert isinstance(error, HTTPException)
        return self._plain(request, error.status_code, error.detail, error.headers)

    async def failure(self, request: Request, error: Exception) -> Response:
        """What nobody expected; the framework logs it."""
        return self._plain(request, 500, "something went wrong here; the server's log says what")

    async def _api(self, request: Request, more: tuple[tuple[str, str], ...]) -> Response:
        try:
            if more:
                parse_edition_key(more[0][1])
            question = await _question(request, more, strict=True)
            results: Results = await self.library.search(question)
        except EXPECTED as error:
            return _refused(*_told(error))
        return JSONResponse(results.as_dict())

    async def _liked(self, question: Question) -> dict[str, str]:
        """The books to be like, by key, with their titles where they are known."""
        keys = question.liked()
        titles = await self.library.titles(keys)
        return {key: titles.get(key, key) for key in keys}

    def _plain(self, request: Request, status: int, said: str, headers: Mapping[str, str] | None = None) -> Response:
        if request.url.path.startswith(("/api/", "/cover/", "/healthz")):
            return _refused(status, said, headers)
        html = render(Question(), {}, error=said, open_library_url=self.open_library_url)
        return HTMLResponse(html, status, dict(headers or {}))


async def _question(request: Request, more: tuple[tuple[str, str], ...] = (), strict: bool = False) -> Question:
    """The question of a request. Raises HTTPException 413 and 415, and ValueError as `Question.of`."""
    if request.method != "POST":
        return Question.of([*request.query_params.multi_items(), *more], strict=strict)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMS:
        raise HTTPException(415, f"a question is posted as {' or '.join(FORMS)}, not as {kind or 'nothing named'}")
    try:
        async with request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS) as form:
            fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
            files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
            for name, _ in files:
                if name != "image":
                    raise ValueError(f"a picture is sent as the field image, not as {name!r}")
            images = [await file.read() for _, file in files]
            named = [file.filename for _, file in files]
    except ClientDisconnect:
        raise HTTPException(400, "the question was cut off") from None
    if strict and any(name and not image for name, image in zip(named, images, strict=True)):
        raise ValueError("the picture is empty")
    return Question.of([*fields, *more], images, strict=strict)


def _told(error: Exception) -> tuple[int, str]:
    """An expected error as status and sentence. What Postgres itself says is for the log."""
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    if isinstance(error, OperationalError):
        logger.warning("the database failed a question: %s", error)
        return status, "the database did not answer in time; try again, or ask for less"
    if isinstance(error, DataError):
        logger.info("the database refused a question: %s", error)
        return status, "the database cannot read this question"
    if isinstance(error, UndecodableImageError):
        return status, f"this is no picture that can be read: {str(error).removeprefix('picture 0: ')}"
    if status == 503:
        logger.warning("%s", error)
    return status, str(error)


def _refused(status: int, said: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": said}, status, dict(headers or {}))


def _is_known(if_none_match: str, sha256: str) -> bool:
    """Whether a browser's If-None-Match holds this picture (RFC 9110, 13.1.2: weak comparison)."""
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in known or f'"{sha256}"' in known
