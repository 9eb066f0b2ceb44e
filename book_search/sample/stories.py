"""What the drawn books are called and about: titles, descriptions and subjects that word search can find.

Knows words alone. Most books are about the thing on their cover; some are about something else, as real ones are.
"""

import random
from dataclasses import dataclass

from book_search.sample.vocabulary import ADJECTIVES, GIVEN_NAMES, NOUNS, OBJECTS

FICTION = (
    "Fiction",
    "Fiction, general",
    "Fiction, literary",
    "English fiction",
    "Historical fiction",
    "Science fiction",
    "Fiction, romance, contemporary",
    "FICTION / Literary",
    "Fiction in English",
)

# For each thing: whom its stories are about, where they happen, and the subjects that a librarian would give them.
THEMES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ship": ("a sailor", "a harbour town", ("Fiction, sea stories", "Sailors", "Voyages and travels")),
    "moon": ("an astronomer", "an empty observatory", ("Astronomers", "Night")),
    "star": ("a navigator", "the far edge of the map", ("Navigation", "Space flight")),
    "heart": ("a young doctor", "a hospital by the park", ("Love stories", "Physicians")),
    "tree": ("a forester", "the oldest forest of the country", ("Forests and forestry", "Nature")),
    "house": ("a builder", "a street that nobody visits", ("Dwellings", "Families", "Domestic fiction")),
    "fish": ("an angler", "a river village", ("Fishing", "Rivers")),
    "key": ("a locksmith", "a hotel with a closed wing", ("Mystery fiction", "Secrets")),
    "sword": ("a deserter", "a border castle", ("Fiction, fantasy, epic", "Soldiers", "Middle Ages")),
    "crown": ("a queen's cousin", "a court in exile", ("Kings and rulers", "Courts and courtiers")),
    "mountain": ("a guide", "the last hut before the pass", ("Mountaineering", "Fiction, action and adventure")),
    "bird": ("a letter carrier", "an island of nests", ("Birds", "Islands")),
    "flower": ("a gardener", "a greenhouse in winter", ("Gardens", "Gardeners")),
    "clock": ("a clockmaker", "a station where no train stops", ("Time travel", "Clocks and watches")),
    "cat": ("a retired teacher", "a courtyard of many windows", ("Cats", "Neighbors")),
    "candle": ("a night nurse", "a city without light", ("Ghost stories", "Darkness")),
}
DEEDS = (
    "finds {thing} that should not exist",
    "is left {thing} by a stranger",
    "has one week to give back {thing}",
    "writes everything down, beginning with {thing}",
    "follows {thing} to the place where it all began",
)
TURNS = (
    "What follows changes three families.",
    "Nobody there wants to remember why.",
    "But {name} remembers it differently.",
    "The answer lies with {name}, who still waits.",
    "Before the year is over one of them will be gone.",
)
OTHER_BOOKS = (  # title, subjects: what is not fiction
    ("A Short History of {noun}", ("History", "Social conditions")),
    ("Cooking with {given}", ("Cooking", "Nonfiction")),
    ("The {noun} Gardener", ("Gardening", "Non-fiction")),
    ("Poems from the {noun}", ("Poetry", "English poetry")),
    ("Accounting for the {noun}", ("Economics", "Accounting")),
    ("{given}: A Life", ("Biography", "Creative nonfiction")),
)


@dataclass(frozen=True)
class Story:
    """What a work is about.

    Attributes:
        thing: the word of `vocabulary.OBJECTS` that the title and the words speak of.
        subjects: what it is about; whether it is fiction stands apart.
    """

    title: str
    subtitle: str | None
    description: str
    thing: str
    subjects: tuple[str, ...]


def tell(thing: str, rng: random.Random) -> Story:
    """A story about a thing of `vocabulary.OBJECTS`; its title names it, or does not."""
    who, place, subjects = THEMES[thing]
    given = rng.choice(GIVEN_NAMES)
    title = rng.choice(_titles(thing, rng))
    words = [word for word in OBJECTS[thing] if not word.endswith("s")]  # one of them
    deed = rng.choice(DEEDS).format(thing=_with_article(rng.choice(words)))
    turn = rng.choice(TURNS).format(name=given)
    description = f"In {place} {who} called {rng.choice(GIVEN_NAMES)} {deed}. {turn}"
    subtitle = rng.choice([None, None, None, "a novel", f"a story of {place}"])
    return Story(title, subtitle, description, thing, tuple(rng.sample(subjects, rng.randint(1, len(subjects)))))


def tell_fact(rng: random.Random) -> Story:
    """A book that is not fiction."""
    title, subjects = rng.choice(OTHER_BOOKS)
    title = title.format(noun=rng.choice(NOUNS), given=rng.choice(GIVEN_NAMES))
    return Story(title, None, f"All that is known, with {rng.randint(12, 90)} figures.", "", subjects)


def _titles(thing: str, rng: random.Random) -> list[str]:
    name, adjective, noun = thing.title(), rng.choice(ADJECTIVES), rng.choice(NOUNS)
    return [
        f"The {adjective} {name}",
        f"The {name} and the {noun}",
        f"{_with_article(thing).title()} for {rng.choice(GIVEN_NAMES)}",
        f"The {adjective} {noun}",
        f"{rng.choice(GIVEN_NAMES)}'s {noun}",
    ]


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
