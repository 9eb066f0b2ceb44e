"""Captions of drawn covers: what each claims, in how many words, and which wordings training never sees."""

import random
from dataclasses import dataclass

from book_search.sample.drawing import CoverSpec
from book_search.sample.vocabulary import COLOUR_WORDS, OBJECTS, PLURALS, SCENES

TEMPLATES = (
    "{}", "{}", "{}", "{}", "{}", "a book cover of {}", "a book cover showing {}", "a picture of {}", "a cover with {}",
    "a book with {}", "the book with {} on the cover", "{} on a book cover", "an illustration of {}", "a drawing of {}",
    "a cover of {}", "the cover shows {}", "a cover that shows {}", "i want a book with {} on the cover",
    "books with {}", "find me {}", "show me covers with {}", "there is {} on the cover",
)  # fmt: skip
UNSEEN_TEMPLATES = (
    "a photo of {}",
    "a painting of {}",
    "i am looking for a novel with {} on its front",
    "do you remember {}?",
    "paperback showing {}",
)
# Words that say nothing of a picture: captions of training are sometimes wrapped in a few of them, so that the model
# learns to pass over what it does not know. None of them is in UNSEEN_TEMPLATES or in a paraphrase only.
FILLERS = (
    "please", "some", "that", "this", "nice", "good", "old", "new", "maybe", "like", "really", "need", "would", "could",
    "here", "thing", "image", "print", "edition", "story", "volume", "hardback", "seen", "once", "about", "which", "we",
    "what", "us", "his", "her", "also", "just", "only", "shop", "library", "read", "title", "shelf", "big", "small",
)  # fmt: skip


# How the thing (0) and the smaller one above it (1) are joined, and which comes first.
RELATIONS = (
    (0, 1, " under "), (0, 1, " below "), (0, 1, " beneath "), (0, 1, " and "), (0, 1, " with "), (1, 0, " over "),
    (1, 0, " above "), (1, 0, " and "),
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """What a caption says of a cover; a field that is None says nothing.

    `thing` and `colour` are what a single word can mean: the thing or the smaller one above it; the colour of the
    thing or of the background.
    """

    object: str | None = None
    object_colour: str | None = None
    background: str | None = None
    companion: str | None = None
    companion_colour: str | None = None
    scene: str | None = None
    thing: str | None = None
    colour: str | None = None

    def is_true_of(self, spec: CoverSpec) -> bool:
        """Whether nothing that is claimed is otherwise on the cover."""
        exact = ("object", "object_colour", "background", "companion", "companion_colour", "scene")
        if any(getattr(self, name) not in (None, getattr(spec, name)) for name in exact):
            return False
        if self.thing is not None and self.thing not in (spec.object, spec.companion):
            return False
        return self.colour is None or self.colour in (spec.object_colour, spec.background)


def full_claim(spec: CoverSpec) -> Claim:
    """Everything that a caption can say of a cover."""
    return Claim(
        spec.object, spec.object_colour, spec.background, spec.companion, spec.companion_colour,
        spec.scene if spec.scene != "plain" else None,
    )  # fmt: skip


def random_claim(spec: CoverSpec, rng: random.Random) -> Claim:
    """A true claim of random length, from one word to everything; a quarter and more speak of things alone.

    A thing named by itself is a `thing`, never an `object`: nobody who asks for a moon refuses one above a ship.
    """
    kind = rng.random()
    companion, companion_colour = spec.companion, spec.companion_colour
    scene = spec.scene if spec.scene != "plain" else None
    if scene and rng.random() < 0.08:
        return Claim(scene=scene)
    if kind < 0.20:
        return Claim(thing=spec.companion if companion and rng.random() < 0.25 else spec.object)
    if kind < 0.26:
        return Claim(colour=rng.choice([spec.object_colour, spec.background]))
    if kind < 0.30:
        return Claim(background=spec.background)
    if kind < 0.40:
        return Claim(object=spec.object, object_colour=spec.object_colour)
    if kind < 0.48 and (companion or scene):
        return Claim(object=spec.object, companion=companion, scene=None if companion else scene)
    if kind < 0.55:
        return Claim(object=spec.object, background=spec.background)
    if kind < 0.60 and scene:
        return Claim(object=spec.object, scene=scene)
    if kind < 0.72:
        companion_colour = companion_colour if rng.random() < 0.7 else None
        scene = scene if companion is None or rng.random() < 0.3 else None
        return Claim(spec.object, spec.object_colour, None, companion, companion_colour, scene)
    if kind < 0.80:
        return Claim(spec.object, spec.object_colour, spec.background)
    return full_claim(spec)


def caption(claim: Claim, rng: random.Random, templates: tuple[str, ...] = TEMPLATES, fillers: float = 0) -> str:
    """A claim in words, in one of the wordings and templates at random.

    Args:
        fillers: the share of captions that are wrapped in words without meaning, as training does.
    """
    words = rng.choice(templates).replace("{}", phrase(claim, rng))
    if fillers and rng.random() < fillers:
        before, after = ([_filler(rng) for _ in range(rng.randrange(longest))] for longest in (4, 3))
        words = " ".join([*before, words, *after])
    return words


def phrase(claim: Claim, rng: random.Random) -> str:
    """A claim as a noun phrase: `a white ship under a yellow moon on a blue cover at night`."""
    if claim.thing or claim.colour:
        if claim.colour:
            return rng.choice(COLOUR_WORDS[claim.colour])
        word = rng.choice(OBJECTS[claim.thing or ""])
        return rng.choice([word, word, f"a {word}", f"a {word}", PLURALS.get(word, word)])
    scene = rng.choice(SCENES[claim.scene]) if claim.scene else ""
    ground = rng.choice(COLOUR_WORDS[claim.background]) if claim.background else ""
    if not claim.object:
        if scene:
            return rng.choice([scene, scene, scene.split()[-1]])  # `in the snow`, `snow`
        covers = [f"{_article(ground)} {ground} cover", f"{_article(ground)} {ground} book cover"]
        return rng.choice([*covers, f"{ground} background", f"on {ground}"])
    scene = f" {scene}" if scene else ""
    thing = _noun(claim.object, claim.object_colour, rng)
    if claim.companion:
        above = _noun(claim.companion, claim.companion_colour, rng)
        one, other, both = rng.choice(RELATIONS)
        thing = (thing, above)[one] + both + (thing, above)[other]
    if not ground:
        return thing + scene
    return rng.choice(
        [
            f"{thing} on a {ground} cover{scene}",
            f"{thing} on a {ground} background{scene}",
            f"{thing}{scene} on {ground}",
            f"{_article(ground)} {ground} cover with {thing}{scene}",
            f"{ground} background, {thing}{scene}",
            f"the {ground} one, {thing}{scene}",
            f"{thing}{scene}, the background is {ground}",
        ]
    )


def paraphrase(claim: Claim, rng: random.Random) -> str:
    """A full claim in wordings that training never sees, of words that it mostly knows."""
    thing = _noun(claim.object or "", claim.object_colour, rng)
    above = f", {_noun(claim.companion, claim.companion_colour, rng)} over it" if claim.companion else ""
    scene = f" {rng.choice(SCENES[claim.scene])}" if claim.scene else ""
    ground = rng.choice(COLOUR_WORDS[claim.background or ""])
    return rng.choice(
        [
            f"it was {ground} and had {thing}{above}{scene}",
            f"{scene.strip()} {thing}{above}, everything else is {ground}".strip(),
            f"my {ground} book, the one where you see {thing}{above}{scene}",
        ]
    )


def _noun(name: str, colour: str | None, rng: random.Random) -> str:
    word = rng.choice(OBJECTS[name])
    words = f"{rng.choice(COLOUR_WORDS[colour])} {word}" if colour else word
    return f"{_article(words)} {words}" if rng.random() < 0.75 else words


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _filler(rng: random.Random) -> str:
    """A word that says nothing: mostly an English one, else letters at random."""
    if rng.random() < 0.7:
        return rng.choice(FILLERS)
    return "".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(2, 7)))
