"""Reads dump files: gunzips them on a core of its own, notices damage, and hands their lines on in Arrow batches.

Knows that a line has five columns between tabs, and nothing of what they say: reading the JSON is SQL's work.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from book_search.openlibrary.ahead import ahead
from book_search.schemas import REJECTS

READ_SIZE = 256 << 10
PIECE_SIZE = 1 << 20  # unpacked at a time: larger ones leave the processor's cache and cost a half more
BLOCK_SIZE = 2 << 20  # lines go on in blocks of about this many bytes
BLOCKS_AHEAD = 8  # unpacked while the blocks before are looked at
LONGEST_LINE = 64 << 20  # single lines of real dumps reach 8 MB; this bounds the memory that a broken file can ask for
REJECT_LENGTH = 2_000  # characters of a broken line that are kept
COLUMNS = 5  # type, key, revision, last_modified, JSON
TAB, NEWLINE = 9, 10
GZIP_MAGIC = b"\x1f\x8b"
BAD_GZIP = cast(type[Exception], isal_zlib.error)  # a class, whatever its stub says
# A part keeps the tab or newline that ends it, so that all parts of a block can share its memory.
LINE_SCHEMA = pa.schema([("line_number", pa.int64()), ("part", pa.list_(pa.string(), COLUMNS))])


class DumpError(RuntimeError):
    """A dump cannot be had or cannot be used; the message says what to do."""


class EmptyDumpError(DumpError):
    """A dump holds nothing, as one month's files of Open Library did."""


class DamagedDumpError(DumpError):
    """A dump's gzip stream is cut off or its checksum is wrong."""


class Reject(NamedTuple):
    """A line that could not be handed on."""

    line_number: int
    reason: str
    content: str


@dataclass
class LineReader:
    """One pass over the lines of a dump, gzipped or plain; its counts are final once the pass is over.

    Args:
        path: the file.
        on_read: called with the file's bytes, as they are read.
        containing: where given, only lines that hold one of these are handed on; the line numbers stay the file's.
    """

    path: Path
    on_read: Callable[[bytes], None] | None = None
    containing: tuple[bytes, ...] | None = None
    lines: int = 0
    rejects: list[Reject] = field(default_factory=list)
    failure: Exception | None = None

    def reader(self) -> pa.RecordBatchReader:
        """The lines as a stream of (line_number, its five parts, each with the tab or newline after it), for one use.

        A line of another number of columns is a reject.

        What goes wrong on the way is kept in `failure`: the consumer may wrap it beyond recognition.
        """
        return pa.RecordBatchReader.from_batches(LINE_SCHEMA, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for block in ahead(self._blocks(), BLOCKS_AHEAD):
                if isinstance(block, Reject):
                    self.lines += 1
                    self.rejects.append(block._replace(line_number=self.lines))
                else:
                    yield from self._batches_of(block)
        except Exception as failure:
            self.failure = failure
            raise

    def _blocks(self) -> Iterator[bytes | Reject]:
        """Whole lines, about BLOCK_SIZE bytes of them at a time, and a reject in place of a line without end."""
        held: list[bytes] = []
        size, skipping = 0, False
        for chunk in unpacked(self.path, self.on_read):
            if skipping:
                _, newline, chunk = chunk.partition(b"\n")
                skipping = not newline
            held.append(chunk)
            size += len(chunk)
            if size < BLOCK_SIZE:
                continue
            end = chunk.rfind(b"\n") + 1
            if not end:
                if size <= LONGEST_LINE:
                    continue
                chunk = b"".join(held)
                held, end = [chunk], chunk.rfind(b"\n") + 1
                if not end:
                    yield Reject(0, f"longer than {LONGEST_LINE} bytes", chunk[:4000].decode(errors="replace"))
                    held, size, skipping = [], 0, True
                    continue
            yield b"".join([*held[:-1], memoryview(chunk)[:end]])
            held = [chunk[end:]]
            size = len(held[0])
        if size:
            rest = b"".join(held)
            yield rest if rest.endswith(b"\n") else rest + b"\n"

    def _batches_of(self, block: bytes) -> Iterator[pa.RecordBatch]:
        first = self.lines + 1
        if self.containing is None and _is_utf8(block):
            parts = _parts(block)
            if parts is not None:
                self.lines += len(parts)
                yield pa.record_batch([pa.array(np.arange(first, first + len(parts))), parts], schema=LINE_SCHEMA)
                return
        if self.containing is not None and not any(needle in block for needle in self.containing):
            self.lines += block.count(b"\n")
            return
        numbers: list[int] = []
        rows: list[list[str]] = []
        for number, line in enumerate(_split(block), first):
            self.lines = number
            if self.containing is not None and not any(needle in line for needle in self.containing):
                continue
            columns = line.count(b"\t") + 1
            if columns != COLUMNS:
                self._reject(number, f"{columns} columns, not {COLUMNS}", line)
                continue
            try:
                rows.append(parts_of(line.decode()))
                numbers.append(number)
            except UnicodeDecodeError as error:
                self._reject(number, f"not UTF-8 at byte {error.start}", line)
        if numbers:
            yield pa.record_batch(
                [pa.array(numbers, pa.int64()), pa.array(rows, LINE_SCHEMA.field("part").type)], schema=LINE_SCHEMA
            )

    def _reject(self, number: int, reason: str, line: bytes) -> None:
        self.rejects.append(Reject(number, reason, line.decode(errors="replace").rstrip("\n")))


def rejects_table(kind: str, rejects: Sequence[Reject]) -> pa.Table:
    """Lines that cannot be read, as schemas.REJECTS; of a long one its beginning."""
    rows = [
        {"dump": kind, "line": line, "reason": reason, "content": content[:REJECT_LENGTH]}
        for line, reason, content in rejects
    ]
    return pa.Table.from_pylist(rows, schema=REJECTS)


def parts_of(line: str) -> list[str]:
    """The columns of one line, each with what ends it."""
    *columns, last = line.split("\t")
    return [*(column + "\t" for column in columns), last]


def unpacked(path: Path, on_read: Callable[[bytes], None] | None = None) -> Iterator[bytes]:
    """The bytes of a file, gunzipped where it is gzipped, in pieces of some MB.

    Raises:
        DamagedDumpError: the gzip ends too soon, or its CRC or length is not that of its content.
    """
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        chunks = _chunks(file, on_read)
        if not packed:
            yield from chunks
            return
        try:
            yield from _gunzip(chunks)
        except (BAD_GZIP, EOFError) as error:
            raise DamagedDumpError(
                f"{path} is damaged ({error} near byte {file.tell():,} of the gzip); delete it and fetch it again"
            ) from error


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of every gzip member; zeros between and after them are padding, as RFC 1952's readers allow."""
    engine = None
    data = b""
    while data := data or next(chunks, b""):
        if engine is None:
            data = data.lstrip(b"\0")
            if not data:
                continue
            engine = isal_zlib.decompressobj(wbits=31)  # 16 + 15: gzip's header, CRC and length, checked by isal
        piece = engine.decompress(data, PIECE_SIZE)
        data = engine.unconsumed_tail
        if engine.eof:
            data, engine = engine.unused_data, None
        if piece:
            yield piece
    if engine is not None:
        yield engine.flush()
        if not engine.eof:
            raise EOFError("it ends before its end mark")


def _chunks(file: BinaryIO, on_read: Callable[[bytes], None] | None) -> Iterator[bytes]:
    while data := file.read(READ_SIZE):
        if on_read:
            on_read(data)
        yield data


def _parts(block: bytes) -> pa.FixedSizeListArray | None:
    """The columns of a block's lines as Arrow strings that share its memory; None unless every line has all five."""
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text <= NEWLINE)
    if len(ends) % COLUMNS:
        return None
    marks = text[ends].reshape(-1, COLUMNS)
    if not ((marks[:, :-1] == TAB).all() and (marks[:, -1] == NEWLINE).all()):
        return None
    offsets = np.zeros(len(ends) + 1, np.int32)
    np.add(ends, 1, out=offsets[1:], casting="unsafe")
    texts = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
    return pa.FixedSizeListArray.from_arrays(texts, COLUMNS)


def _is_utf8(block: bytes) -> bool:
    """Whether a block is valid UTF-8; dumps are ASCII, which is told much faster than it is decoded."""
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _split(block: bytes) -> Iterator[bytes]:
    """The lines of a block at `\\n` alone."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        yield block[start:end]
        start = end
