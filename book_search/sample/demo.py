"""Where the demo's library lies and what must be set to work on it. Serving it is `sample.server`'s part."""

import os
from pathlib import Path

TINY_CLIP = Path(__file__).parent / "tiny_clip"
NOBODY = "http://127.0.0.1:9"  # the discard port (RFC 863), on which nothing listens


def demo_home() -> Path:
    """The demo's folder: a part of BOOK_SEARCH_HOME's default, beside a lake that is not the demo's."""
    return Path(".book_search").resolve() / "demo"


def enter_demo(url: str | None = None) -> Path:
    """Set this process's environment to the demo's library, and nothing but it; returns the demo's folder.

    Args:
        url: where the sample server listens. Without it nothing can be fetched: least of all from the real hosts.
    """
    home = demo_home()
    for name in [name for name in os.environ if name.startswith("BOOK_SEARCH_")]:
        del os.environ[name]  # what a user has set for the real library must not leak into the drawn one
    url = url or NOBODY
    os.environ |= {
        "BOOK_SEARCH_HOME": str(home),
        "BOOK_SEARCH_MODEL": str(TINY_CLIP),
        "BOOK_SEARCH_OPEN_LIBRARY_URL": url,
        "BOOK_SEARCH_COVERS_URL": url,
        "BOOK_SEARCH_ARCHIVE_URL": url,
        "BOOK_SEARCH_REQUESTS_PER_MINUTE": "60000",  # our own server on loopback
        "BOOK_SEARCH_PACE_FOLDER": str(home / "pace"),
        "DAGSTER_HOME": str(home / "dagster"),
        "HF_HUB_OFFLINE": "1",
    }
    return home


def demo_picture() -> bytes:
    """A JPEG of a cover that is not in the library: what someone might have a photograph of."""
    from book_search.sample.drawing import CoverSpec, cover_jpeg

    return cover_jpeg(CoverSpec("crown", "yellow", "black", None, None, "plain", "", "", 0, seed=7))
