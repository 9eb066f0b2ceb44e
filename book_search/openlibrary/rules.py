"""Which editions become books: the filter as configuration, and its rules by name, in the order applied.

A rule is an SQL condition over the columns that `sql/editions.sql` and `sql/works.sql` read out of a dump. What it
compares with reaches DuckDB as bound variables; what is written into SQL are years and words of ASCII letters alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import pyarrow as pa

from book_search.settings import Settings

# Subjects that name fiction but are about it: the subdivisions of the Library of Congress's subject headings, and
# its "Travelers in fiction".
ABOUT_FICTION = (
    r"history (and|&) criticism|technique|authorship|study (and|&) teaching|bibliography|book reviews|appreciation"
    r"|influences?([^a-z]|$)|themes,? motives|stories,? plots|dictionaries|indexes|periodicals|publishing"
    r"|(^|[^a-z])in fiction|fiction writing|writing fiction|theory"
)
# Whom a book is for, where the headings of libraries and of the book trade say so. Children as a theme do not count.
JUVENILE = (
    r"(^|[^a-z])juvenile|(^|[^a-z])children['’]?s([^a-z]|$)|^children(:|,| --| /|$)|(^|[^a-z])(for|young) children"
    r"|(^|[^a-z])(picture|board) books?([^a-z]|$)"
)
JUVENILE_THEME = r"juvenile (delinquen|justice|court|homicide|detention|correction|prostitut)"

MOST_YEARS_BY_TEXT = 50  # a longer alternation costs more than the JSON that it saves


class NoBookError(ValueError):
    """No edition became a book. Attributes: funnel: rows by rule, as schemas.FUNNEL."""

    def __init__(self, funnel: pa.Table) -> None:
        emptied = next((row["rule"] for row in funnel.to_pylist() if not row["rows_out"]), "the deny list")
        super().__init__(
            f"no book passes the filter: {emptied!r} leaves none. Look at BOOK_SEARCH_SUBJECT, LANGUAGES, YEARS and "
            "PAGES_OVER. Books, covers and tables stay as they are."
        )
        self.funnel = funnel


@dataclass(frozen=True)
class CatalogueFilter:
    """Which editions are wanted. The default: English fiction for adults, over 100 pages, of ten years, with a cover.

    Args:
        languages: MARC codes, any of which an edition must have; empty for any language and none.
        subject: words one subject or genre, of the edition or its work, must hold: "fiction" matches neither
            "nonfiction" nor works about fiction. None for any.
        juvenile: whether children's and juvenile books are wanted.
        pages_over: the edition has more pages than this. None for any number and none.
        years: published in the dump's year or this many years before it. None for any year and none.
        cover_required: whether an edition without a cover is left out.
        publishers: words, any of which a publisher's name must hold; empty for any publisher.
        exclude_subjects: words that no subject or genre may hold.
        where: more conditions, in DuckDB's SQL, over the columns of `schemas.BOOKS`.
        deny_list: where the list of covers and editions lies that are left out, see `deny_list`; None for the lake's.
    """

    languages: tuple[str, ...] = ("eng",)
    subject: str | None = "fiction"
    juvenile: bool = False
    pages_over: int | None = 100
    years: int | None = 10
    cover_required: bool = True
    publishers: tuple[str, ...] = ()
    exclude_subjects: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    deny_list: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "CatalogueFilter":
        """The filter that the environment asks for."""
        return cls(
            languages=settings.languages,
            subject=settings.subject,
            juvenile=settings.juvenile,
            pages_over=settings.pages_over,
            years=settings.years,
            cover_required=settings.cover_required,
            deny_list=settings.deny_list,
        )


@dataclass(frozen=True)
class Rule:
    """One condition that a book must meet.

    Args:
        name: as the funnel and `why` call it.
        stage: "edition" where the edition alone decides, "subjects" where its work's subjects count too, "book"
            where the whole row is needed.
        condition: SQL that is true for what passes; false and NULL do not.
        shows: SQL for the value that the condition looks at.
        wants: what passes, in words.
        variables: values for `getvariable(name)` in `condition`.
        may_pass: of the stage "edition": SQL over the JSON as text, `record`, that is false only where the rule is not
            met, whatever else the JSON says (a text that hides ASCII in escapes is not asked). These rules come first.
        passes: the same, true only where the rule is met: then a later rule that fails is the first. (A field named
            once more inside another would deceive it about which of two failed rules came first; the dumps have none.)
    """

    name: str
    stage: Literal["edition", "subjects", "book"]
    condition: str
    shows: str
    wants: str
    variables: Mapping[str, object] = field(default_factory=dict)
    may_pass: str | None = None
    passes: str | None = None


def rules_of(wanted: CatalogueFilter, dump_date: date) -> tuple[Rule, ...]:
    """The rules that a filter asks for, in the order applied; switched-off ones are left out."""
    rules = []
    if wanted.cover_required:
        rules.append(
            Rule(
                "has a cover",
                "edition",
                "cover_id IS NOT NULL",
                "cover_id",
                "a cover id",
                may_pass=_holds_any(["covers"]),
                passes=r"""regexp_matches(record, '"covers": \[[1-9][0-9]{0,11}[],]')""",
            )
        )
    if wanted.languages:
        rules.append(
            Rule(
                "in a wanted language",
                "edition",
                "list_has_any(languages, getvariable('wanted_languages'))",
                "array_to_string(languages, ', ')",
                f"any of {', '.join(wanted.languages)}",
                {"wanted_languages": list(wanted.languages)},
                _holds_any([f"/{code}" for code in wanted.languages]),
                _holds_any([f"/languages/{code}" for code in wanted.languages], '"languages": [{"key": "', '"}'),
            )
        )
    if wanted.years is not None:
        first, last = dump_date.year - wanted.years, dump_date.year
        rules.append(
            Rule(
                f"published {first} to {last}",
                "edition",
                "publish_year BETWEEN getvariable('first_year') AND getvariable('last_year')",
                "publish_year",
                f"{first} to {last}",
                {"first_year": first, "last_year": last},
                _dated_in(range(first, last + 1)),
            )
        )
    rules.append(Rule("has a title", "edition", "title <> ''", "title", "a title"))
    if wanted.pages_over is not None:
        rules.append(
            Rule(
                f"more than {wanted.pages_over} pages",
                "edition",
                "pages > getvariable('pages_over')",
                "pages",
                f"more than {wanted.pages_over}",
                {"pages_over": wanted.pages_over},
            )
        )
    if wanted.publishers:
        rules.append(
            Rule(
                "of a wanted publisher",
                "edition",
                "len(list_filter(publishers, lambda p: regexp_matches(lower(p), getvariable('publisher_names')))) > 0",
                "array_to_string(publishers, '; ')",
                f"any of {', '.join(wanted.publishers)}",
                {"publisher_names": "|".join(_escaped(name) for name in wanted.publishers)},
            )
        )
    rules += _subject_rules(wanted)
    rules += [Rule(f"where {condition}", "book", condition, condition, condition) for condition in wanted.where]
    return tuple(rules)


def _subject_rules(wanted: CatalogueFilter) -> list[Rule]:
    rules = []
    if wanted.subject:
        word = _escaped(wanted.subject)
        unlike = rf"(^|[^a-z])non[-_ ]?{word}"
        if wanted.subject.lower().endswith("fiction"):
            unlike += "|" + ABOUT_FICTION
        rules.append(
            Rule(
                f"about {wanted.subject}" if not wanted.subject.lower().endswith("fiction") else f"is {wanted.subject}",
                "subjects",
                "len(list_filter(subjects, lambda s: regexp_matches(lower(s), getvariable('subject_pattern'))"
                " AND NOT regexp_matches(lower(s), getvariable('subject_unlike')))) > 0",
                "array_to_string(subjects, '; ')",
                f"a subject of {wanted.subject}",
                {"subject_pattern": rf"(^|[^a-z]){word}", "subject_unlike": unlike},
            )
        )
    if not wanted.juvenile:
        rules.append(
            Rule(
                "not juvenile",
                "subjects",
                "len(list_filter(subjects, lambda s: regexp_matches(lower(s), getvariable('juvenile_pattern'))"
                " AND NOT regexp_matches(lower(s), getvariable('juvenile_theme')))) = 0",
                "array_to_string(subjects, '; ')",
                "no subject that says it is for children",
                {"juvenile_pattern": JUVENILE, "juvenile_theme": JUVENILE_THEME},
            )
        )
    if wanted.exclude_subjects:
        words = "|".join(_escaped(word) for word in wanted.exclude_subjects)
        rules.append(
            Rule(
                f"no subject of {', '.join(wanted.exclude_subjects)}",
                "subjects",
                "len(list_filter(subjects, lambda s: regexp_matches(lower(s), getvariable('excluded_pattern')))) = 0",
                "array_to_string(subjects, '; ')",
                f"none of {', '.join(wanted.exclude_subjects)}",
                {"excluded_pattern": rf"(^|[^a-z])({words})"},
            )
        )
    return rules


def _holds_any(words: Sequence[str], before: str = "", after: str = "") -> str | None:
    """SQL for a record's text that holds one of some words; None where JSON might write a word in another way."""
    if not all(word.replace("/", "").isalnum() and word.isascii() for word in words):
        return None
    return " OR ".join(f"contains(record, '{before}{word}{after}')" for word in words)


def _dated_in(years: range) -> str | None:
    """SQL for a record's text whose date of publication holds one of some years, or is written as no text."""
    if len(years) > MOST_YEARS_BY_TEXT:
        return None
    pattern = rf'"publish_date"\s*:\s*(?:[^"\s]|"(?:[^"\\]|\\.)*(?:{"|".join(map(str, years))}))'
    return f"regexp_matches(record, '{pattern}')"


def _escaped(words: str) -> str:
    """Words as a pattern for text that was made lower case."""
    return re.escape(words.lower())
