"""Texts as branches of one tree of tokens, so that what several of them begin with is computed once.

CLIP's text tower looks backwards alone (Radford et al. 2021, section 2.4): what it computes of a token depends on the
tokens before it and on nothing after. A query's sentences begin as its templates do ("a book cover of ..."), each
question again, so those tokens' keys and values may be kept: the trunk. Knows token ids; nothing of what is computed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

Tokens = Sequence[int]
Array = TypeVar("Array")

ROOT = -1
TOKENS_AT_ONCE = 256  # of several texts in one pass; each looks at all of them, if only to see which are its own


@dataclass(frozen=True)
class Trunk(Generic[Array]):
    """Tokens that were computed before, by their columns.

    Attributes:
        children: the column of the token that follows a column; what begins a text follows ROOT.
        keys, values: for each layer, [columns, width].
    """

    children: dict[tuple[int, int], int] = field(default_factory=dict)
    keys: tuple[Array, ...] = ()
    values: tuple[Array, ...] = ()


@dataclass(frozen=True)
class TokenTree:
    """What is to be computed of some texts beside a trunk: a row a token, each after the one that it follows.

    Attributes:
        children: as a trunk's; the columns are those of the trunk, and then the rows here.
        tokens, places: the id of each row's token, and its place in its text: int [rows].
        ends: the row at which each text ends: int [texts].
        sees: which columns a row looks at, itself and what its text has before it: bool [rows, columns].
    """

    children: dict[tuple[int, int], int]
    tokens: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    sees: np.ndarray


def grow(texts: Sequence[Tokens], known: dict[tuple[int, int], int]) -> TokenTree:
    """The tree of texts over a trunk's `children`. A text's last token is always computed."""
    fresh: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    looks: list[list[int]] = []
    ends: list[int] = []
    for ids in texts:
        above: list[int] = []
        for place, token in enumerate(ids):
            step = (above[-1] if above else ROOT, token)
            column = known.get(step) if place < len(ids) - 1 else None
            if column is None:
                column = fresh.setdefault(step, len(known) + len(tokens))
            above.append(column)
            if column == len(known) + len(tokens):
                tokens.append(token)
                looks.append([*above])
        ends.append(above[-1] - len(known))
    sees = np.zeros((len(tokens), len(known) + len(tokens)), bool)
    for row, columns in enumerate(looks):
        sees[row, columns] = True
    places = np.array([len(columns) - 1 for columns in looks])
    return TokenTree(fresh | known, np.array(tokens), places, np.array(ends), sees)


def trunk_columns(tree: TokenTree, beginnings: Sequence[Tokens]) -> tuple[dict[tuple[int, int], int], list[int]]:
    """What of a tree belongs into the next trunk: its `children`, and which of the tree's columns its own are."""
    children: dict[tuple[int, int], int] = {}
    columns: list[int] = []
    for ids in beginnings:
        at, grown = ROOT, ROOT
        for token in ids:
            if (at, token) not in tree.children:
                break
            at = tree.children[at, token]
            if (grown, token) not in children:
                children[grown, token] = len(columns)
                columns.append(at)
            grown = children[grown, token]
    return children, columns


def passes(texts: Sequence[Tokens]) -> Iterator[list[int]]:
    """The positions of texts, those side by side that begin alike, in shares of at most TOKENS_AT_ONCE rows."""
    some: list[int] = []
    rows = 0
    for index in sorted(range(len(texts)), key=lambda index: tuple(texts[index])):
        more = len(texts[index]) - (_shared(texts[some[-1]], texts[index]) if some else 0)
        if some and rows + more > TOKENS_AT_ONCE:
            yield some
            some, rows, more = [], 0, len(texts[index])
        some.append(index)
        rows += more
    if some:
        yield some


def _shared(first: Tokens, second: Tokens) -> int:
    """How many tokens two texts begin with alike."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
