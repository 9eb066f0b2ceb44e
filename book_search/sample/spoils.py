"""Why an edition is dropped by the default filter, and how a good one is spoiled so that it is.

Knows one reason at a time: all else of a spoiled record stays as it should be.
"""

import random
from collections.abc import Callable, Mapping

from book_search.sample.records import Record, date_of, no_cover, no_pages, no_year, pages_of
from book_search.sample.stories import Story, tell, tell_fact

NewWork = Callable[[Story, tuple[str, ...]], str]  # makes a work with these subjects and gives its key
Spoil = Callable[[Record, random.Random, NewWork], None]

LANGUAGES = ("fre", "ger", "spa", "jpn", "ita")
NEWEST_OLD_YEAR = 2010  # well before the ten years that end with the library's dump
NONFICTION = ("Nonfiction", "Non-fiction", "NONFICTION / Travel")
ABOUT_FICTION = ("English fiction -- History and criticism", "Fiction -- Authorship")
JUVENILE = ("Juvenile fiction", "Children's fiction", "Children's stories", "JUVENILE FICTION / Cats")


def _other_language(record: Record, rng: random.Random, new_work: NewWork) -> None:
    record["languages"] = [{"key": f"/languages/{rng.choice(LANGUAGES)}"}]


def _no_language(record: Record, rng: random.Random, new_work: NewWork) -> None:
    del record["languages"]


def _no_cover(record: Record, rng: random.Random, new_work: NewWork) -> None:
    del record["covers"]
    record.update(no_cover(rng))


def _few_pages(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _without_pages(record)
    record.update(pages_of(rng.choice((8, 32, 64, 99, 100)), rng))


def _no_pages(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _without_pages(record)
    record.update(no_pages(rng))


def _too_old(record: Record, rng: random.Random, new_work: NewWork) -> None:
    record["publish_date"] = date_of(rng.randint(1850, NEWEST_OLD_YEAR), rng)


def _no_year(record: Record, rng: random.Random, new_work: NewWork) -> None:
    record["publish_date"] = no_year(rng)


def _not_fiction(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _say_nothing_of_fiction(record, rng, new_work, tell_fact(rng).subjects)


def _nonfiction(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _say_nothing_of_fiction(record, rng, new_work, (rng.choice(NONFICTION),))


def _about_fiction(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _say_nothing_of_fiction(record, rng, new_work, (rng.choice(ABOUT_FICTION),))


def _no_subjects(record: Record, rng: random.Random, new_work: NewWork) -> None:
    _say_nothing_of_fiction(record, rng, new_work, ())


def _juvenile(record: Record, rng: random.Random, new_work: NewWork) -> None:
    """On the edition or on its work; the other says plain fiction."""
    subject = rng.choice(JUVENILE)
    if rng.random() < 0.5:
        record["subjects"] = ["Fiction", subject]
    else:
        record["works"] = [{"key": f"/works/{new_work(tell('cat', rng), (subject,))}"}]


def _no_title(record: Record, rng: random.Random, new_work: NewWork) -> None:
    record["title"] = rng.choice(("", "  ", None))


SPOILS: Mapping[str, Spoil] = {
    "other_language": _other_language,
    "no_language": _no_language,
    "no_cover": _no_cover,
    "few_pages": _few_pages,
    "no_pages": _no_pages,
    "too_old": _too_old,
    "no_year": _no_year,
    "not_fiction": _not_fiction,
    "nonfiction": _nonfiction,
    "about_fiction": _about_fiction,
    "no_subjects": _no_subjects,
    "juvenile": _juvenile,
    "no_title": _no_title,
}


def _without_pages(record: Record) -> None:
    record.pop("number_of_pages", None)
    record.pop("pagination", None)


def _say_nothing_of_fiction(record: Record, rng: random.Random, new_work: NewWork, subjects: tuple[str, ...]) -> None:
    """Give an edition a work of its own; neither has more than these subjects."""
    fact = tell_fact(rng)
    record["works"] = [{"key": f"/works/{new_work(fact, subjects)}"}]
    record["title"] = fact.title
    record["subjects"] = list(subjects)
    record.pop("description", None)
