"""What the drawn covers show and how it is called: things, colours, scenes, and words for titles and names."""

# Each thing with the words that captions call it by; the first is its name.
OBJECTS: dict[str, tuple[str, ...]] = {
    "ship": ("ship", "boat", "sailing ship"),
    "moon": ("moon", "crescent moon"),
    "star": ("star",),
    "heart": ("heart",),
    "tree": ("tree", "fir tree"),
    "house": ("house", "cottage"),
    "fish": ("fish",),
    "key": ("key",),
    "sword": ("sword", "dagger"),
    "crown": ("crown",),
    "mountain": ("mountain", "peak"),
    "bird": ("bird",),
    "flower": ("flower", "blossom"),
    "clock": ("clock",),
    "cat": ("cat",),
    "candle": ("candle",),
}

# "stars" is left to the night sky.
PLURALS: dict[str, str] = {
    word: {"fish": "fish"}.get(word, word + "s") for name, words in OBJECTS.items() for word in words if name != "star"
}

# The smaller thing that may hang above the first.
COMPANIONS = ("moon", "star", "bird", "heart")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 30, 35),
    "orange": (240, 130, 25),
    "yellow": (245, 210, 50),
    "green": (40, 140, 65),
    "blue": (35, 75, 180),
    "purple": (128, 56, 165),
    "pink": (245, 150, 190),
    "brown": (115, 70, 35),
    "black": (22, 22, 26),
    "white": (246, 244, 238),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS} | {
    "yellow": ("yellow", "golden"),
    "red": ("red", "scarlet"),
}

# Where the thing is; `plain` says nothing.
SCENES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "night": ("at night", "under the stars"),
    "sea": ("by the sea", "on the waves"),
    "rain": ("in the rain",),
    "snow": ("in the snow",),
}
NIGHT_BACKGROUNDS = ("blue", "purple", "black")  # a night is dark

ADJECTIVES = (
    "Silent", "Last", "Hidden", "Broken", "Distant", "Burning", "Quiet", "Forgotten", "Second", "Hollow",
    "Patient", "Borrowed", "Winter", "Narrow", "Unfinished", "Long",
)  # fmt: skip
NOUNS = (
    "Harbour", "Letter", "Garden", "Promise", "Winter", "River", "Orchard", "Stranger", "Island", "Lantern",
    "Crossing", "Season", "Archive", "Daughter", "Road", "Tide", "Kingdom", "Window",
)  # fmt: skip
GIVEN_NAMES = (
    "Ada", "Bruno", "Clara", "Dmitri", "Elif", "Farah", "Gwen", "Hiro", "Ines", "Jonas", "Keiko", "Lena",
    "Marek", "Nadia", "Oskar", "Priya",
)  # fmt: skip
FAMILY_NAMES = (
    "Ashdown", "Brandt", "Calloway", "Drummond", "Eriksen", "Fontaine", "Grayling", "Hollis", "Ivanova", "Juarez",
    "Kessler", "Lindqvist", "Moreau", "Nakagawa", "Okafor", "Penrose",
)  # fmt: skip
