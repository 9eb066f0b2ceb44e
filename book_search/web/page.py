"""The page as HTML: the form as it was filled in, and the answer under it. Everything from outside is escaped here.

Knows questions, answers and HTML; nothing of HTTP or the database.
"""

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote, urlencode, urlsplit

from book_search.search.fit import FITS
from book_search.search.results import Hit, Results
from book_search.web.question import LIMIT, Question

EXAMPLES = ("a white ship under a moon", "a red heart", "a black cat at night", "a yellow flower in the rain")
SIMPLE = ("q", "avoid", "words", "author", "publisher", "subject", "year_from", "year_to", "pages_from", "pages_to")
LIMITS = (12, LIMIT, 48, 96)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

# The verdicts of `Results`, for people: a headline, and what it means.
VERDICTS = {
    "good match": ("{} found", "The best of them fit well, as far as the model can tell."),
    "no good match": (
        "No good match",
        "Nothing here clearly fits what was asked. These are the nearest covers; see for yourself.",
    ),
    "by words alone": ("{} found by words", "Covers were not compared: nothing was asked about them."),
    "too few covers to say how good": ("{} nearest", "This library holds too few covers to say how good a match is."),
    "nothing found": ("Nothing found", "No book fulfils all of this. Fewer filters or other words may help."),
}

ONLY_WORDS = "They have the words; no cover clearly fits."


def render(
    question: Question,
    liked: Mapping[str, str],
    results: Results | None = None,
    error: str | None = None,
    open_library_url: str = "",
) -> str:
    """The whole page.

    Args:
        question: what was asked, as typed.
        liked: the titles of the books to be like, by edition key.
        results: the answer; without one and without `error` the page invites to ask.
        error: a sentence for the asker, in place of an answer.
        open_library_url: where the books' own pages are.
    """
    # A field that may be given again shows its first value; the others are chips, which keep them.
    values = {name: escape(question.one(name) or "") for name in SIMPLE}
    folded = [name for name in SIMPLE if name != "q" and question.one(name)]
    if error is not None:
        answer = f'<p class="error" role="alert"><strong>Sorry:</strong> {escape(error)}</p>'
    elif results is not None:
        answer = _answer(question, results, open_library_url)
    else:
        answer = _invitation(question)
    return _template().substitute(
        values,
        title=escape(_title(question, liked)),
        focus="" if question.asks else " autofocus",
        open=" open" if folded or question.one("limit") else "",
        chips=_chips(question, liked),
        limits=_limits(question),
        answer=answer,
    )


@cache
def _template() -> Template:
    return Template((files("book_search.web") / "page.html").read_text("utf-8"))


def _title(question: Question, liked: Mapping[str, str]) -> str:
    asked = [*question.all("q"), *(f"like {title}" for title in liked.values()), *question.all("words")]
    return " · ".join([*asked, "Books by their covers"])


def _chips(question: Question, liked: Mapping[str, str]) -> str:
    """What the form has no field for: kept in hidden fields, and each taken away by its link."""
    chips = []
    for name in ("like", "tag", "q", "avoid"):
        for value in question.all(name)[1 if name in ("q", "avoid") else 0 :]:
            shown = {"like": "like ", "avoid": "not ", "tag": "", "q": ""}[name] + _chip_text(name, value, liked)
            rest = question.address(without=[(name, value)])
            chips.append(
                f'<li><input type="hidden" name="{name}" value="{escape(value)}">{escape(shown)} '
                f'<a href="/?{escape(rest)}" aria-label="Remove {escape(shown)}">×</a></li>'
            )
    return f'<ul class="chips" aria-label="Also asked">{"".join(chips)}</ul>' if chips else ""


def _chip_text(name: str, value: str, liked: Mapping[str, str]) -> str:
    if name == "like":
        return next((title for key, title in liked.items() if key in value.upper()), value)
    return value.partition(":")[2].replace("_", " ") if name == "tag" and ":" in value else value


def _limits(question: Question) -> str:
    """The choices of how many; what was asked for is one of them."""
    asked = question.one("limit") or ""
    sizes = sorted({*LIMITS, *([int(asked)] if asked.isascii() and asked.isdigit() and len(asked) <= 3 else [])})
    chosen = asked if asked in map(str, sizes) else str(LIMIT)
    # The usual number has no value, so that addresses stay short.
    return "".join(
        f'<option value="{"" if size == LIMIT else size}"{" selected" if str(size) == chosen else ""}>{size}</option>'
        for size in sizes
    )


def _invitation(question: Question) -> str:
    if question.fields:
        return "<p>Filters alone ask nothing. Say what is on the cover, choose a picture, or give words.</p>"
    links = "".join(f'<li><a href="/?{urlencode({"q": text})}">{escape(text)}</a></li>' for text in EXAMPLES)
    return (
        f'<p>Say what a cover shows, or give a picture that it looks like. For example:</p><ul class="try">{links}</ul>'
    )


def _answer(question: Question, results: Results, open_library_url: str) -> str:
    headline, meaning = VERDICTS.get(results.verdict, (results.verdict, ""))
    if results.verdict == "good match" and not any(hit.notable for hit in results.hits):
        meaning = ONLY_WORDS
    count = f"{len(results.hits)} book{'' if len(results.hits) == 1 else 's'}"
    hits = "".join(_hit(hit, results.bar, question, open_library_url) for hit in results.hits)
    took = sum(results.seconds.values())
    json = "" if question.images else f' · <a href="/api/search?{escape(question.address())}">this answer as JSON</a>'
    kind = " poor" if results.verdict in ("no good match", "nothing found") else ""
    return (
        f'<div class="verdict{kind}" role="status"><h2>{escape(headline.format(count))}</h2>'
        f"<p>{escape(meaning)}</p></div>"
        f'<ol class="hits">{hits}</ol>'
        f'<p class="fine">{took:.2f} s{json}</p>'
    )


def _hit(hit: Hit, bar: float | None, question: Question, open_library_url: str) -> str:
    more = f"/?like={quote(hit.edition_key)}"
    title = escape(hit.title)
    subtitle = f' <span class="subtitle">{escape(hit.subtitle)}</span>' if hit.subtitle else ""
    about = [
        str(hit.publish_year) if hit.publish_year is not None else "",
        f"{hit.pages} pages" if hit.pages else "",
        escape(hit.publisher or ""),
    ]
    links = [f'<a href="{more}" aria-label="More like {title}">More like this</a>'] if hit.cover_id is not None else []
    if _in_open_library(hit):
        address = f"{open_library_url.rstrip('/')}/books/{quote(hit.edition_key)}"
        links.append(f'<a href="{escape(address)}" rel="noopener">Open Library</a>')
    return (
        f'<li class="hit{" notable" if hit.notable or hit.words_rank is not None else ""}">'
        f"{_cover(hit, more)}"
        f'<div class="about"><h3>{title}{subtitle}</h3>'
        f'<p class="authors">{escape(", ".join(hit.authors))}</p>'
        f'<p class="fine">{" · ".join(each for each in about if each)}</p>'
        f"{_tags(hit, question)}{_strength(hit, bar)}"
        f'<p class="links">{" ".join(links)}</p></div></li>'
    )


def _cover(hit: Hit, more: str) -> str:
    if hit.cover_id is None:
        return '<span class="cover none">no cover</span>'
    # The title stands beside it and the link comes again below: nothing is lost for who cannot see the picture.
    return (
        f'<a class="cover" href="{more}" tabindex="-1" aria-hidden="true">'
        f'<img src="/cover/{hit.cover_id}.jpg" alt="Cover of {escape(hit.title)}" loading="lazy" decoding="async"></a>'
    )


def _tags(hit: Hit, question: Question) -> str:
    links = []
    for facet, tag in hit.tags.items():
        narrowed = question.address(more=[("tag", f"{facet}:{tag}")])
        shown = escape(tag.replace("_", " "))
        # A picture is not in the address, so a link cannot narrow what was asked by one.
        links.append(
            f"<li>{shown}</li>"
            if question.images
            else f'<li><a href="/?{escape(narrowed)}" title="Only with {escape(facet)}: {shown}">{shown}</a></li>'
        )
    return f'<ul class="tags" aria-label="Seen on the cover">{"".join(links)}</ul>' if links else ""


def _strength(hit: Hit, bar: float | None) -> str:
    """How well the cover fits: by CLIP's own choice where texts were asked for, else among the collection's scores."""
    by_words = "has the words" if hit.words_rank is not None else ""
    if hit.strength is None:
        return f'<p class="strength">{by_words}</p>' if by_words else ""
    if hit.fit is not None:
        said = "fits" if hit.notable else "may not fit"
        value, least, most, shown = hit.fit, FITS, 1.0, f"{hit.fit:.0%}"
        tip = f"Fit {shown}: CLIP's own choice between the text and just any cover"
    else:
        said = "" if bar is None else "stands out" if hit.notable else "cover could be chance"
        value, least, most, shown = hit.strength, bar or 10.0, 2 * (bar or 5.0), f"{hit.strength:+.1f}"
        tip = f"Strength {shown}" + (f"; chance reaches {bar:.1f}" if bar is not None else "")
    meter = (
        f'<meter min="0" max="{most:.2f}" low="0" high="{least:.2f}" optimum="{most:.2f}" '
        f'value="{min(max(value, 0.0), most):.2f}">{shown}</meter>'
    )
    words = ", ".join(each for each in (by_words, said) if each)
    return f'<p class="strength" title="{escape(tip)}">{meter} <span>{shown}</span> {words}</p>'


def _in_open_library(hit: Hit) -> bool:
    """Whether the book is one of the real catalogue; the sample's, whose covers this machine served, are not."""
    return hit.cover_url is not None and urlsplit(hit.cover_url).hostname not in LOOPBACK
