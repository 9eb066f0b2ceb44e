"""Contact sheets: small, in rows, of what is there."""

import base64
import io

from PIL import Image

from book_search.openlibrary.contact_sheet import contact_sheet
from book_search.sample.drawing import cover_jpeg
from book_search.sample.showcase import SHOWCASE


def _picture(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_covers_stand_side_by_side_in_their_own_colours() -> None:
    black, white = cover_jpeg(SHOWCASE[4]), cover_jpeg(SHOWCASE[2])

    sheet = contact_sheet([black, white])

    assert sheet is not None
    picture = _picture(sheet)
    assert picture.size == (112, 84)
    assert max(picture.getpixel((4, 40))) < 60  # type: ignore[arg-type]
    assert min(picture.getpixel((60, 40))) > 200  # type: ignore[arg-type]


def test_a_sheet_is_small_enough_for_a_row_of_the_event_log() -> None:
    sheet = contact_sheet(cover_jpeg(SHOWCASE[number % len(SHOWCASE)]) for number in range(100))
    assert sheet is not None
    assert len(sheet) < 60_000
    assert _picture(sheet).size == (12 * 56, 2 * 84)


def test_a_range_without_pictures_has_no_sheet() -> None:
    assert contact_sheet([]) is None
