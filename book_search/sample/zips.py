"""The Internet Archive's zips of covers, made from what a server has under its cover ids.

Knows the archive's names and the zip format; nothing of requests.
"""

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping

COVERS_PER_ZIP = 10_000


def archive_zips(covers: Mapping[int, bytes | int], size: str) -> dict[str, bytes]:
    """A zip for each ten thousand ids of which any has a cover, by its path at the archive.

    Args:
        covers: by id, the picture's bytes; a status instead means that there is none.
    """
    batches: dict[int, dict[str, bytes]] = {}
    for cover_id, body in sorted(covers.items()):
        if isinstance(body, bytes):
            batches.setdefault(cover_id // COVERS_PER_ZIP, {})[member_name(cover_id, size)] = body
    return {zip_path(batch * COVERS_PER_ZIP, size): zip_of(members) for batch, members in batches.items()}


def zip_path(cover_id: int, size: str) -> str:
    """Where the archive serves the zip that a cover belongs to."""
    if cover_id < 7_140_000:
        item = f"olcovers{cover_id // COVERS_PER_ZIP}"
        return f"/download/{item}/{item}-{size}.zip"
    item = f"{size.lower()}_covers_{cover_id // 1_000_000:04d}"
    return f"/download/{item}/{item}_{cover_id // COVERS_PER_ZIP % 100:02d}.zip"


def member_name(cover_id: int, size: str) -> str:
    """A cover's name in its zip."""
    return f"{cover_id}-{size}.jpg" if cover_id < 7_140_000 else f"{cover_id:010d}-{size}.jpg"


def zip_of(
    members: Mapping[str, bytes],
    *,
    deflated: bool = False,
    comment: bytes = b"",
    zip64: bool = False,
    broken: Iterable[str] = (),
) -> bytes:
    """A zip of these members, in their order.

    Args:
        deflated: whether they are compressed; the archive's are not.
        comment: of the zip.
        zip64: whether its end is written in the form for huge zips.
        broken: names of members whose bytes do not fit their CRC.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, body in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), body, archive.compression)
        archive.comment = comment
        offsets = {entry.filename: (entry.header_offset, entry.compress_size) for entry in archive.infolist()}
    made = bytearray(file.getvalue())
    for name in broken:
        start, size = offsets[name]
        at = start + 30 + len(name) + size // 2
        made[at] ^= 0xFF
    return _with_zip64_end(bytes(made), len(comment)) if zip64 else bytes(made)


def _with_zip64_end(made: bytes, comment: int) -> bytes:
    """The same zip with the end of huge ones: counts, size and offset stand in a record of 64 bits before its end."""
    at = len(made) - 22 - comment
    entries, size, offset = struct.unpack("<HII", made[at + 10 : at + 20])
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<IIQI", 0x07064B50, 0, at, 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, comment)
    return made[:at] + record + locator + end + made[at + 22 :]
