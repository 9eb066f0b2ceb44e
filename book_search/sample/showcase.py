"""The covers of the sample that are not drawn at random: those that the demo and the README ask for."""

from book_search.sample.drawing import CoverSpec

SHOWCASE = tuple(
    CoverSpec(*shown, title="", author="", lettering=number % 5, seed=number * 10)
    for number, shown in enumerate(
        [
            ("ship", "white", "blue", "moon", "yellow", "night"),
            ("ship", "white", "purple", "moon", "white", "night"),
            ("ship", "red", "white", None, None, "sea"),
            ("ship", "red", "black", "star", "yellow", "night"),
            ("crown", "yellow", "black", None, None, "plain"),
            ("heart", "red", "black", None, None, "plain"),
            ("heart", "red", "blue", None, None, "snow"),
            ("house", "orange", "purple", "moon", "white", "snow"),
        ]
    )
)


def is_showcase(spec: CoverSpec) -> bool:
    """Whether this cover, or another drawing of it, is one of `SHOWCASE`."""
    return _shown(spec) in {_shown(each) for each in SHOWCASE}


def _shown(spec: CoverSpec) -> tuple[str | None, ...]:
    return (
        spec.object, spec.object_colour, spec.background, spec.companion, spec.companion_colour, spec.scene,
    )  # fmt: skip
