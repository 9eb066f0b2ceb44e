"""Whether a figure is what it usually is. Knows statistics, nothing of books or of where earlier figures are kept."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from book_search.evaluation.measure import wilson


class Share(NamedTuple):
    """Some found of those looked for."""

    found: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1; 1 where nothing was looked for."""
        return self.found / self.of if self.of else 1.0


def fell(now: Share, usual: Share, margin: float) -> bool:
    """Whether a share is lower than usual by more than `margin` and by more than chance explains.

    Chance explains it where the two 95% intervals (Wilson) touch: of a few trials it explains much. The margin is for
    many trials, of which a difference that nobody minds would be told as well.
    """
    if not now.of or not usual.of:
        return False
    return usual.value - now.value > margin and wilson(now.value, now.of)[1] < wilson(usual.value, usual.of)[0]


def usual_number(earlier: Sequence[float]) -> float | None:
    """What a number usually is: the median of the earlier ones; None before the first."""
    return median(earlier) if earlier else None


def is_near(number: float, usual: float | None, tolerance: float) -> bool:
    """Whether a number is within a share `tolerance` of the usual one; anything is, where none is known."""
    return usual is None or abs(number - usual) <= tolerance * usual


def worse_than_last(
    now: Sequence[Mapping[str, Any]], last: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, float]]:
    """The measures that lie under their last interval: by name, what each is and where that interval began.

    Args:
        now, last: measures as `RelevanceReport.as_dict` gives them: `name`, `value`, `low`.
    """
    began = {measure["name"]: measure["low"] for measure in last}
    return {
        measure["name"]: (measure["value"], began[measure["name"]])
        for measure in now
        if measure["name"] in began and measure["value"] < began[measure["name"]]
    }
