"""A few covers side by side in one small picture, for a person to see what a range holds."""

import base64
import io
import itertools
from collections.abc import Iterable

from PIL import Image

COLUMNS, ROWS = 12, 2
THUMBNAIL = (56, 84)  # pixels
QUALITY = 60  # the whole stays under 60 kB, since metadata lies in a row of Dagster's event log


def contact_sheet(pictures: Iterable[bytes]) -> str | None:
    """The first 24 pictures as a JPEG in a data URI, as Markdown shows it; None where there is none.

    Raises:
        OSError: a picture cannot be decoded; those of the ledger's status `ok` can.
    """
    shown = [_thumbnail(picture) for picture in itertools.islice(pictures, COLUMNS * ROWS)]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (min(len(shown), COLUMNS) * THUMBNAIL[0], rows * THUMBNAIL[1]), "white")
    for place, thumbnail in enumerate(shown):
        left, top = place % COLUMNS * THUMBNAIL[0], place // COLUMNS * THUMBNAIL[1]
        sheet.paste(thumbnail, (left + (THUMBNAIL[0] - thumbnail.width) // 2, top))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _thumbnail(picture: bytes) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as opened:
        opened.draft("RGB", THUMBNAIL)  # a JPEG is decoded at a fraction of its size
        thumbnail = opened.convert("RGB")
    thumbnail.thumbnail(THUMBNAIL)
    return thumbnail
