"""The library behind the page: made ready beside the first questions, and no question in words waits for a picture."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from book_search.clip.encoder import Clip
from book_search.clip.packed_texts import PackedTexts
from book_search.clip.texts import ClipTexts, LazyTexts
from book_search.lake import Lake
from book_search.search.engine import LoadClip
from book_search.search.results import Results
from book_search.web.library import Library
from book_search.web.question import Question
from book_search_tests.web.conftest import PICTURE, serving

SHIP = Question.of([("q", "a ship"), ("words", "sea")])


def asked(library: Library, question: Question = SHIP) -> Results:
    return anyio.run(library.search, question)


def test_a_library_made_ready_answers_as_before_by_a_quicker_way(
    planted_dsn: str, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("book_search.clip.texts.WORTH_TORCH", 0.0)
    given: list[LazyTexts] = []

    def texts_of(load_whole: LoadClip) -> LazyTexts:
        given.append(LazyTexts(clip.description, lambda: clip.texts or clip))
        return given[-1]

    library = Library(planted_dsn, lambda: clip, texts_of)
    before = asked(library)

    library.warm_up("fp32")
    assert library.ready(timeout=60)

    after = asked(library)
    library.close()
    assert [hit.edition_key for hit in after.hits] == [hit.edition_key for hit in before.hits]
    assert after.verdict == before.verdict == "good match"
    quicker = library._texts_once()
    assert quicker is not given[0]
    assert isinstance(quicker.loaded, ClipTexts)
    assert isinstance(quicker.loaded.tower, PackedTexts)
    assert len(given) == 1


def test_a_library_that_cannot_be_made_ready_says_so_and_answers_what_it_can(
    database_dsn: str, clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    empty, absent = Library(database_dsn, lambda: clip), Library("postgresql://127.0.0.1:1/none", lambda: clip)

    with caplog.at_level(logging.INFO, logger="book_search"):
        for library in (empty, absent):
            library.warm_up("auto")
            assert library.ready(timeout=60)
            library.close()

    assert "nothing to search yet" in caplog.text
    assert "cannot connect" in caplog.text


def test_a_question_in_words_waits_for_no_picture(planted_dsn: str, clip: Clip, pictures_lake: Lake) -> None:
    looking, may_end = threading.Event(), threading.Event()

    class Slow(Clip):
        def encode_images(self, *arguments: object, **named: object) -> None:  # type: ignore[override]
            looking.set()
            assert may_end.wait(30)
            raise ValueError("this picture took too long")

    slow = Slow(clip.description, clip.model, clip.tokenizer, clip.image_processor, texts=clip.texts)
    with serving(planted_dsn, lambda: slow, pictures_lake) as browser, ThreadPoolExecutor(1) as other:
        picture = other.submit(browser.post, "/api/search", PICTURE)
        assert looking.wait(30)

        words = browser.get("/api/search", q="a ship")

        assert not picture.done()
        may_end.set()
        assert (words.status, picture.result().status) == (200, 400)
