"""A figure and how sure it is. Knows statistics, nothing of books."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959964  # the normal distribution's 97.5% point


@dataclass(frozen=True)
class Measure:
    """A share of trials, 0 to 1, with the interval in which the true one lies 19 times of 20.

    Attributes:
        name: such as `index_recall_at_10`.
        value: the mean over the trials.
        n: how many trials.
        low, high: the Wilson interval.
        says: what was tried, in a sentence.
    """

    name: str
    value: float
    n: int
    low: float
    high: float
    says: str


def measure(name: str, trials: Sequence[float], says: str) -> Measure:
    """The mean of trials between 0 and 1, each a success or not, or a reciprocal rank.

    For reciprocal ranks the interval is wider than need be: no value between 0 and 1 varies more than success does.

    Raises:
        ValueError: there are no trials.
    """
    if not trials:
        raise ValueError(f"{name} was measured on nothing")
    value = math.fsum(trials) / len(trials)
    low, high = wilson(value, len(trials))
    return Measure(name, value, len(trials), low, high, says)


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share seen in n trials (E. B. Wilson, 1927)."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    # At 0 and 1 rounding would leave the share itself just outside.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
