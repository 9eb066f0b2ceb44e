"""What is told as unusual is neither chance nor trifle."""

import pytest

from book_search.evaluation.usual import Share, fell, is_near, usual_number, worse_than_last


@pytest.mark.parametrize(
    ("now", "usual", "told"),
    [
        (Share(800, 1000), Share(9500, 10000), True),
        (Share(950, 1000), Share(9500, 10000), False),
        (Share(94_000, 100_000), Share(950_000, 1_000_000), False),  # no chance, but a trifle
        (Share(3, 4), Share(95, 100), False),  # 20 points less of so few is chance
        (Share(1000, 1000), Share(800, 1000), False),  # better than usual
        (Share(0, 0), Share(95, 100), False),
        (Share(0, 50), Share(0, 0), False),
    ],
)
def test_a_share_fell_where_neither_chance_nor_a_trifle_explains_it(now: Share, usual: Share, told: bool) -> None:
    assert fell(now, usual, margin=0.05) == told


def test_the_usual_number_is_the_middle_one_of_those_before() -> None:
    assert usual_number([100, 1, 110]) == 100
    assert usual_number([]) is None


def test_any_number_is_usual_where_there_was_none_before() -> None:
    assert is_near(7, None, 0.2)
    assert is_near(120, 100, 0.2)
    assert not is_near(121, 100, 0.2)
    assert not is_near(79, 100, 0.2)


def test_a_measure_is_worse_once_it_is_under_its_last_interval() -> None:
    last = [{"name": "a", "value": 0.9, "low": 0.85}, {"name": "b", "value": 0.9, "low": 0.85}]
    now = [
        {"name": "a", "value": 0.86, "low": 0.8},
        {"name": "b", "value": 0.84, "low": 0.8},
        {"name": "new", "value": 0.1, "low": 0.0},
    ]
    assert worse_than_last(now, last) == {"b": (0.84, 0.85)}
