"""What texts begin with alike is one branch of a tree, and what was computed before is no part of it."""

import numpy as np

from book_search.clip import token_tree
from book_search.clip.token_tree import ROOT, TokenTree, Trunk, grow, passes, trunk_columns

TEXTS = [[1, 5, 6, 2], [1, 5, 7, 2], [1, 8, 2], [1, 5, 6, 2]]


def texts_of(tree: TokenTree, known: dict[tuple[int, int], int]) -> list[list[int]]:
    """The texts that a tree stands for, read from what each end sees."""
    token_of = {column: token for (_, token), column in (tree.children | known).items()}
    for row, token in enumerate(tree.tokens.tolist()):
        token_of[len(known) + row] = token
    return [[token_of[int(column)] for column in np.flatnonzero(tree.sees[end])] for end in tree.ends]


def test_what_texts_share_is_computed_once_and_seen_by_each() -> None:
    tree = grow(TEXTS, {})

    assert len(tree.tokens) == 8  # 1 5 6 2, 7 2, 8 2
    assert texts_of(tree, {}) == TEXTS
    np.testing.assert_array_equal(tree.sees.sum(axis=1) - 1, tree.places)
    assert tree.ends[0] == tree.ends[3]


def test_a_trunk_is_seen_and_not_computed_again() -> None:
    children, _ = trunk_columns(grow([[1, 5, 6, 2]], {}), [[1, 5], [1, 8]])
    assert children == {(ROOT, 1): 0, (0, 5): 1}  # of the second only its first token was there

    tree = grow(TEXTS, children)

    assert tree.tokens.tolist() == [6, 2, 7, 2, 8, 2]
    assert texts_of(tree, children) == TEXTS


def test_a_text_that_ends_within_the_trunk_still_has_a_row_of_its_own() -> None:
    trunk: Trunk[np.ndarray] = Trunk({(ROOT, 1): 0, (0, 5): 1})

    tree = grow([[1, 5], [1, 5, 2]], trunk.children)

    assert tree.tokens.tolist() == [5, 2]
    assert texts_of(tree, trunk.children) == [[1, 5], [1, 5, 2]]


def test_a_pass_is_no_larger_than_allowed_and_no_text_is_lost() -> None:
    rng = np.random.default_rng(0)
    texts = [[1, *rng.integers(2, 9, size=size).tolist()] for size in rng.integers(1, 77, size=200)]

    shares = list(passes(texts))

    assert sorted(index for some in shares for index in some) == list(range(200))
    rows = [len(grow([texts[index] for index in some], {}).tokens) for some in shares]
    assert len(rows) > 1
    assert max(rows) <= token_tree.TOKENS_AT_ONCE
