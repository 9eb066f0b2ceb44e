"""The search page and its API, asked over HTTP: answers, refusals, and what must never get through."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from book_search.clip.encoder import Clip
from book_search.clip.model import ModelUnavailableError, load_clip
from book_search.clip.texts import LazyTexts
from book_search.index.connection import connect
from book_search.lake import Lake
from book_search.search.engine import LoadClip, search
from book_search.search.query import Query
from book_search_tests.clip.random_clip import cover, save_random_clip
from book_search_tests.search.conftest import DIM, LIKE_PICTURE, SAME_WORK, SHIP, SHIP_BY_DAY, SHIP_BY_NIGHT, UNCOVERED
from book_search_tests.web.conftest import PICTURE, PICTURES, Browser, etag, serving

EVIL = "<script>alert(1)</script>\"' onerror=x"


class Elements(HTMLParser):
    """The elements of a page as a browser sees them: (tag, attributes)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.found if each == tag]

    def field(self, name: str) -> str | None:
        return next(each.get("value") for each in self.all("input") if each.get("name") == name)


def test_the_api_answers_as_the_search_function_does(browser: Browser, planted_dsn: str, clip: Clip) -> None:
    with connect(planted_dsn) as connection:
        expected = search(connection, lambda: clip, Query(texts=["a ship"]), 5).as_dict()

    answer = browser.get("/api/search", q="a ship", limit="5").json

    assert answer.pop("seconds").keys() == expected.pop("seconds").keys()
    assert answer == expected
    assert answer["hits"][0]["edition_key"] == f"OL{SHIP}M"


def test_parts_of_a_question_are_mixed_by_their_fields(browser: Browser) -> None:
    plain = browser.get("/api/search", q="a ship", limit="10").keys
    by_day = browser.get("/api/search", q="a ship", avoid="night", limit="10").keys
    light = browser.get("/api/search", q=["a ship", "night^0.01"], limit="10").keys
    like = browser.get("/api/search", like=f"OL{SHIP}M", limit="5")
    words = browser.get("/api/search", words="moby dick explained")
    posted = browser.post("/api/search", q="a ship", limit="1")

    night, day = f"OL{SHIP_BY_NIGHT}M", f"OL{SHIP_BY_DAY}M"
    assert {night, day} <= set(plain) & set(light)
    assert by_day.index(day) < (by_day.index(night) if night in by_day else len(by_day))
    assert f"OL{SHIP}M" not in like.keys
    assert like.keys
    assert words.json["verdict"] == "by words alone"
    assert [hit["title"] for hit in words.json["hits"]] == ["Moby Dick Explained"]
    assert posted.keys == [f"OL{SHIP}M"]


def test_a_picture_finds_the_cover_that_looks_like_it(browser: Browser) -> None:
    answer = browser.post("/api/search", PICTURE, limit="3")

    assert answer.status == 200
    assert answer.keys[0] == f"OL{LIKE_PICTURE}M"


def test_similar_needs_a_known_book(browser: Browser) -> None:
    known = browser.get(f"/api/similar/OL{SHIP}M", limit="2")
    unknown = browser.get("/api/similar/OL999999M")
    uncovered = browser.get(f"/api/similar/OL{UNCOVERED}M")
    nonsense = browser.get("/api/similar/..%2Fetc")

    assert (known.status, len(known.keys)) == (200, 2)
    assert f"OL{SAME_WORK}M" not in known.keys, "another edition of the same work is not a find"
    assert (unknown.status, uncovered.status) == (404, 404)
    assert "OL999999M" in unknown.json["error"]
    assert nonsense.status in (400, 404)


def test_filters_hold_for_every_hit(browser: Browser) -> None:
    asked = {"q": "a ship", "year_from": "1950", "year_to": "1960", "pages_from": "60", "tag": "colour:red"}

    hits = browser.get("/api/search", **asked, limit="20").json["hits"]

    assert hits
    assert all(1950 <= hit["publish_year"] <= 1960 and hit["pages"] >= 60 for hit in hits)
    assert all(hit["tags"]["colour"] == "red" for hit in hits)
    assert browser.get("/api/search", q="a ship", author="nobody at all").json["verdict"] == "nothing found"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing is asked"),
        ({"year_from": "1990"}, "nothing is asked"),
        ({"q": "  "}, "nothing is asked"),
        ({"q": "a", "limit": "0"}, "limit"),
        ({"q": "a", "limit": "101"}, "limit"),
        ({"q": "a", "limit": "-3"}, "limit"),
        ({"q": "a", "year_from": "99999999999999999999"}, "year_from"),
        ({"q": "a", "year_from": "2000", "year_to": "1990"}, "2000"),
        ({"q": "a", "yeer": "2000"}, "yeer"),
        ({"q": "a", "limit": ["1", "2"]}, "2 times"),
        ({"q": "x" * 1001}, "longer"),
        ({"q": "a\0b"}, "NUL"),
        ({"words": "a\0b"}, "NUL"),
        ({"q": "a^0"}, "weight"),
        ({"q": "a", "tag": "blue"}, "facet:tag"),
        ({"q": "a", "avoid": "a^2"}, "cancel"),
        ({"like": "../../etc/passwd"}, "edition key"),
    ],
)
def test_a_question_without_sense_is_refused_in_one_sentence(
    browser: Browser, fields: dict[str, str], said: str
) -> None:
    answer = browser.get("/api/search", **fields)

    assert answer.status == 400
    assert said in answer.json["error"]
    assert "\n" not in answer.json["error"]


def test_what_is_no_picture_is_refused(browser: Browser) -> None:
    cut_off = PICTURE[: len(PICTURE) // 2]
    answers = [
        browser.post("/api/search", body) for body in (b"<html>no picture</html>", b"\x89PNG\r\n\x1a\n", cut_off)
    ]
    page = browser.post("/", b"<html>no picture</html>")
    empty = browser.post("/api/search", b"")

    assert [answer.status for answer in answers] == [415] * 3
    assert all("picture" in answer.json["error"] for answer in answers)
    assert page.status == 415
    assert "no picture" in page.text
    assert (empty.status, empty.json["error"]) == (400, "the picture is empty")


def test_a_body_too_large_is_refused_and_the_server_goes_on(browser: Browser) -> None:
    large = browser.post("/api/search", b"\xff\xd8\xff" + bytes(11 * 2**20))
    page = browser.post("/", b"\xff\xd8\xff" + bytes(11 * 2**20))
    bomb = browser.post("/api/search", _bomb())

    assert (large.status, page.status, bomb.status) == (413, 413, 413)
    assert "MB" in large.json["error"]
    assert 'role="alert"' in page.text
    assert "pixels" in bomb.json["error"]
    assert browser.post("/api/search", PICTURE).status == 200


def test_a_body_that_does_not_say_its_size_is_counted(browser: Browser) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="p"\r\n\r\n'
        for _ in range(11):
            yield bytes(2**20)

    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=30)
    connection.request(
        "POST", "/api/search", chunks(), {"Content-Type": "multipart/form-data; boundary=b"}, encode_chunked=True
    )
    status = connection.getresponse().status
    connection.close()

    assert status == 413


def test_a_form_of_another_kind_is_refused(browser: Browser) -> None:
    as_json = browser.ask("POST", "/api/search", b'{"q": "a"}', Content_Type="application/json")
    without_boundary = browser.ask("POST", "/api/search", b"x", Content_Type="multipart/form-data")
    method = browser.ask("DELETE", "/api/search")
    nowhere = browser.get("/api/nowhere")

    assert as_json.status == 415
    assert "application/json" in as_json.json["error"]
    assert without_boundary.status == 400
    assert (method.status, nowhere.status) == (405, 404)
    assert set(nowhere.json) == {"error"}


def test_the_page_answers_a_text_without_any_script(browser: Browser) -> None:
    answer = browser.get("/", q="a ship", year_from="1900")
    page = Elements(answer.text)

    assert answer.status == 200
    assert "The Narrow Sea" in answer.text
    assert (page.field("q"), page.field("year_from")) == ("a ship", "1900")
    assert ("/cover/7.jpg", "Cover of The Narrow Sea") in [
        (each.get("src"), each.get("alt")) for each in page.all("img")
    ]
    assert f"/?like=OL{SHIP}M" in {each.get("href") for each in page.all("a")}
    assert "The best of them fit" in answer.text


def test_the_page_answers_a_picture_without_any_script(browser: Browser) -> None:
    answer = browser.post("/", PICTURE, q="", year_from="1800")

    assert answer.status == 200
    covers = [each["src"] for each in Elements(answer.text).all("img") if each.get("src")]
    assert covers[0] == f"/cover/{LIKE_PICTURE}.jpg"


def test_the_page_says_honestly_that_nothing_fits(browser: Browser) -> None:
    assert "No good match" in browser.get("/", like=f"OL{SHIP}M", year_from="1912").text
    assert "Nothing found" in browser.get("/", q="a ship", author="nobody at all").text


def test_the_page_keeps_a_book_to_be_like_while_words_are_added(browser: Browser) -> None:
    page = browser.get("/", q="night", like=f"ol{SHIP}m", tag="colour:black")

    kept = [each for each in Elements(page.text).all("input") if each.get("type") == "hidden"]
    assert [(each["name"], each["value"]) for each in kept] == [("like", f"ol{SHIP}m"), ("tag", "colour:black")]
    assert "like The Narrow Sea" in page.text


def test_nothing_that_is_typed_or_stored_becomes_markup(planted_dsn: str, clip: Clip, pictures_lake: Lake) -> None:
    with connect(planted_dsn) as connection:
        before = connection.execute(
            "SELECT title, subtitle, authors, publisher FROM book WHERE cover_id = 7"
        ).fetchone()
        assert before is not None
        connection.execute(
            "UPDATE book SET title = %s, subtitle = %s, authors = %s, publisher = %s WHERE cover_id = 7",
            [EVIL, EVIL, [EVIL], EVIL],
        )
        connection.execute("UPDATE cover_tag SET tag = %s WHERE cover_id = 7", [EVIL])
        try:
            with serving(planted_dsn, lambda: clip, pictures_lake) as browser:
                fields = dict.fromkeys(("avoid", "author"), "")
                stored = browser.get("/", q="a ship", **fields)
                liked = browser.get("/", like="OL7M")
                typed = browser.get("/", q=[EVIL, EVIL], avoid=EVIL, like=EVIL, tag=f"a:{EVIL}", limit=EVIL)
                nowhere = browser.get("/%3Cscript%3Ealert(1)%3C/script%3E")
        finally:
            connection.execute("UPDATE cover_tag SET tag = 'black' WHERE cover_id = 7")
            connection.execute(
                "UPDATE book SET title = %s, subtitle = %s, authors = %s, publisher = %s WHERE cover_id = 7", before
            )

    for answer in (stored, liked, typed, nowhere):
        elements = Elements(answer.text)
        assert [each.get("src") for each in elements.all("script")] == ["/static/page.js"]
        assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert stored.text.count("&lt;script&gt;alert(1)") >= 5
    assert "&lt;script&gt;" in typed.text


def test_every_answer_binds_the_browser(browser: Browser) -> None:
    for path in ("/", "/api/search", "/cover/7.jpg", "/nowhere", "/static/page.js", "/static/page.css", "/healthz"):
        headers = browser.get(path).headers
        policy = str(headers["Content-Security-Policy"])
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"]


def test_the_page_needs_nothing_from_elsewhere(browser: Browser) -> None:
    page = Elements(browser.get("/", q="a ship").text)

    loaded = [each.get("src") for tag in ("script", "img") for each in page.all(tag)]
    loaded += [each.get("href") for each in page.all("link")]
    assert not page.all("style")
    assert not any("style" in attributes for _, attributes in page.found), "the policy forbids styles in the page"
    own = [str(each) for each in loaded if each]
    assert all(each.startswith("/") and not each.startswith("//") for each in own)
    assert all(browser.get(each).status == 200 for each in own if each.startswith("/static/"))


def test_every_field_has_a_label(browser: Browser) -> None:
    page = Elements(browser.get("/").text)

    labelled = {each.get("for") for each in page.all("label")}
    asked = [each for tag in ("input", "select") for each in page.all(tag) if each.get("type") != "hidden"]
    assert len(asked) > 8
    assert {each.get("id") for each in asked} == labelled


def test_a_cover_comes_out_of_the_lake_as_it_went_in(browser: Browser) -> None:
    jpeg, shared, png = (browser.get(f"/cover/{cover_id}.jpg") for cover_id in (7, 8, 9))

    assert (jpeg.body, shared.body, png.body) == (PICTURES[7], PICTURES[7], PICTURES[9])
    assert [each.headers["Content-Type"] for each in (jpeg, png)] == ["image/jpeg", "image/png"]
    assert jpeg.headers["ETag"] == shared.headers["ETag"] == etag(PICTURES[7])
    assert "max-age" in str(jpeg.headers["Cache-Control"])


def test_a_cover_that_the_browser_has_is_not_sent_again(browser: Browser) -> None:
    known = browser.ask("GET", "/cover/7.jpg", If_None_Match=f'"other", W/{etag(PICTURES[7])}')
    changed = browser.ask("GET", "/cover/7.jpg", If_None_Match='"other"')
    head = browser.ask("HEAD", "/cover/7.jpg")

    assert (known.status, known.body, known.headers["ETag"]) == (304, b"", etag(PICTURES[7]))
    assert changed.status == 200
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(PICTURES[7]))


@pytest.mark.parametrize(
    "path",
    ["11.jpg", "12.jpg", "123456789.jpg", "99999999999.jpg", "-7.jpg", "7", "7.png", "x.jpg", "٧.jpg",
     "..%2F..%2Fsecret.jpg", "%2e%2e/%2e%2e/secret.jpg", "../../secret.jpg", "7.jpg%00", "1e1.jpg", ".jpg"],
)  # fmt: skip
def test_there_are_no_other_covers_than_the_lakes(browser: Browser, pictures_lake: Lake, path: str) -> None:
    (Path(pictures_lake.root) / "secret.jpg").write_bytes(PICTURE)

    answer = browser.get(f"/cover/{quote(path, safe='/%')}")

    assert answer.status == 404
    assert PICTURE not in answer.body


def test_a_static_file_cannot_be_climbed_out_of(browser: Browser) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
        answer = browser.get(path)
        assert answer.status == 404
        assert b"build_app" not in answer.body


def test_many_ask_at_once(planted_dsn: str, tmp_path: Path, pictures_lake: Lake) -> None:
    loads: list[int] = []

    def load() -> Clip:
        loads.append(threading.get_ident())
        return load_clip(str(save_random_clip(tmp_path / "random-clip", dim=DIM)), device="cpu")

    # Sixteen connections at most at a time, and one tokenizer that must not be shared.
    with serving(planted_dsn, load, pictures_lake) as browser, ThreadPoolExecutor(12) as askers:
        mixed = [("q", f"a ship {n}") if n % 2 else ("like", f"OL{20 + n}M") for n in range(24)]
        statuses = set(askers.map(lambda each: browser.get("/api/search", **dict([each])).status, mixed))

    # The folder's name and content are the planted model's, so its vectors are comparable.
    assert statuses == {200}
    assert len(loads) == 1


def test_a_question_in_words_waits_for_no_model_that_sees(planted_dsn: str, clip: Clip, pictures_lake: Lake) -> None:
    loads: list[str] = []

    def load() -> Clip:
        loads.append("the whole")
        return clip

    def texts_of(load_whole: LoadClip) -> LazyTexts:
        loads.append("its texts")
        return LazyTexts(clip.description, lambda: clip.texts or load_whole())

    with serving(planted_dsn, load, pictures_lake, texts_of) as browser:
        texts = [browser.get("/api/search", q=f"a ship {n}").status for n in range(3)]
        before = [*loads]
        picture = browser.post("/api/search", PICTURE, q="a ship").status

    assert [*texts, picture] == [200] * 4
    assert before == ["its texts"]
    assert loads == ["its texts", "the whole"]


def test_a_model_whose_texts_cannot_be_had_alone_is_loaded_once(
    planted_dsn: str, clip: Clip, pictures_lake: Lake
) -> None:
    loads: list[int] = []

    def load() -> Clip:
        loads.append(1)
        return clip

    def texts_of(load_whole: LoadClip) -> LazyTexts:
        return LazyTexts(clip.description, load_whole)

    with serving(planted_dsn, load, pictures_lake, texts_of) as browser:
        statuses = [browser.get("/api/search", q="a ship").status, browser.post("/api/search", PICTURE).status]

    assert statuses == [200, 200]
    assert len(loads) == 1


def test_a_model_that_cannot_be_had_is_told_and_tried_again(planted_dsn: str, clip: Clip, pictures_lake: Lake) -> None:
    tries: list[int] = []

    def load() -> Clip:
        tries.append(1)
        if len(tries) == 1:
            raise ModelUnavailableError("the hub cannot be reached; set BOOK_SEARCH_MODEL to a folder")
        return clip

    with serving(planted_dsn, load, pictures_lake) as browser:
        first = browser.get("/api/search", q="a ship")
        without_model = browser.get("/api/similar/OL7M")
        second = browser.get("/api/search", q="a ship")

    assert (first.status, without_model.status, second.status) == (503, 200, 200)
    assert "BOOK_SEARCH_MODEL" in first.json["error"]


def test_vectors_of_another_model_are_never_compared(planted_dsn: str, tmp_path: Path, pictures_lake: Lake) -> None:
    other = load_clip(str(save_random_clip(tmp_path / "other-clip", seed=1, dim=DIM)), device="cpu")

    with serving(planted_dsn, lambda: other, pictures_lake) as browser:
        api, page = browser.get("/api/search", q="a ship"), browser.get("/", q="a ship")

    assert (api.status, page.status) == (503, 503)
    assert "cannot be compared" in api.json["error"]
    assert Elements(page.text).field("q") == "a ship", "what was typed is not lost"


def test_an_empty_or_absent_database_is_told(database_dsn: str, clip: Clip, lake: Lake) -> None:
    with serving(database_dsn, lambda: clip, lake) as browser:
        empty, unready = browser.get("/api/search", q="a ship"), browser.get("/healthz")
        invitation = browser.get("/")
    with serving("postgresql://nobody:secret@127.0.0.1:1/none", lambda: clip, lake) as browser:
        absent, unhealthy = browser.get("/api/search", q="a ship"), browser.get("/healthz")

    assert (empty.status, unready.status, invitation.status) == (503, 503, 200)
    assert "nothing to search yet" in empty.json["error"]
    assert (absent.status, unhealthy.status) == (503, 503)
    assert "secret" not in absent.text


def test_a_healthy_server_says_so(browser: Browser) -> None:
    answer = browser.get("/healthz")

    assert answer.status == 200
    assert answer.json["status"] == "ok"


def _bomb() -> bytes:
    """A PNG of a few hundred kilobytes with 81 million pixels."""
    return cover((1, 2, 3), size=(9_000, 9_000), form="PNG")
