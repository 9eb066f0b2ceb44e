"""Whether a range's vectors and tags are those of its pictures, without making any."""

from book_search.clip.embeddings import embed_range, embeddings_folder, is_embedded
from book_search.clip.encoder import Clip
from book_search.clip.zero_shot import Facet, is_tagged, tag_range
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search_tests.clip.random_clip import cover, put_covers

RANGE = CoverRange.parse("0014_6")
FIRST, SECOND = f"covers/{RANGE.key}/0014_62.parquet", f"covers/{RANGE.key}/0014_63.parquet"
RED, GREEN = cover((250, 10, 10)), cover((10, 250, 10))
COLOURS = (Facet("colour", "a cover in {}", ("red", "green")),)


def _stand(lake: Lake, clip: Clip) -> tuple[bool, bool]:
    return is_embedded(lake, RANGE, clip.description), is_tagged(lake, RANGE, clip.description, COLOURS)


def test_what_was_made_stands_until_the_pictures_are_others(lake: Lake, clip: Clip) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "missing", None), (14_620_003, "ok", b"no picture")])
    put_covers(lake, SECOND, [(14_630_001, "ok", GREEN)])
    before = _stand(lake, clip)
    embed_range(lake, RANGE, clip.description, lambda: clip)
    between = _stand(lake, clip)
    tag_range(lake, RANGE, clip.description, lambda: clip, COLOURS)
    after = _stand(lake, clip)
    put_covers(lake, FIRST, [(14_620_001, "ok", GREEN)])

    assert (before, between, after) == ((False, True), (True, False), (True, True))
    assert _stand(lake, clip) == (False, True)


def test_vectors_and_tags_of_covers_that_went_do_not_stand(lake: Lake, clip: Clip) -> None:
    for path, cover_id in ((FIRST, 14_620_001), (SECOND, 14_630_001)):
        put_covers(lake, path, [(cover_id, "ok", RED)])
    embed_range(lake, RANGE, clip.description, lambda: clip)
    tag_range(lake, RANGE, clip.description, lambda: clip, COLOURS)

    lake.delete(SECOND)
    assert _stand(lake, clip) == (False, True)

    lake.delete(f"{embeddings_folder(clip.description.identity, RANGE)}/0014_63.parquet")
    assert _stand(lake, clip) == (True, False)


def test_other_facets_make_the_tags_stand_no_more(lake: Lake, clip: Clip) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    embed_range(lake, RANGE, clip.description, lambda: clip)
    tag_range(lake, RANGE, clip.description, lambda: clip, COLOURS)

    assert is_tagged(lake, RANGE, clip.description, COLOURS)
    assert not is_tagged(lake, RANGE, clip.description, (*COLOURS, Facet("mood", "{}", ("sad", "gay"))))
