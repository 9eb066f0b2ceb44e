"""Arrow columns in Postgres' binary format, as rows for COPY or as an array; knows types and bytes, nothing of tables.

The format is PostgreSQL's documentation of COPY, "Binary Format"; a value's bytes are what its type's receive function
reads (array_recv and the others of src/backend/utils/adt). No row is touched by Python: what has one width is laid out
by NumPy, and Arrow joins it with the texts. That is ten times as fast as a row at a time.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
BLOCK_BYTES = 2**26  # of the columns of a block: Arrow's offsets into a block end at 2**31
NULL = (-1).to_bytes(4, "big", signed=True)  # the length of what is not there
TEXT_OID = 25  # pg_type.dat
EPOCH = {"date": 10_957, "timestamptz": 946_684_800_000_000}  # 2000-01-01 in days and microseconds after 1970-01-01

OIDS = {"bool": 16, "int2": 21, "int4": 23, "int8": 20, "float4": 700, "float8": 701, "text": TEXT_OID}  # pg_type.dat
OIDS |= {"date": 1082, "timestamptz": 1184}

# What a column is cast to, and the bytes of its values.
NUMBERS: dict[str, tuple[pa.DataType, str]] = {
    "bool": (pa.bool_(), ">u1"),
    "int2": (pa.int16(), ">i2"),
    "int4": (pa.int32(), ">i4"),
    "int8": (pa.int64(), ">i8"),
    "float4": (pa.float32(), ">f4"),
    "float8": (pa.float64(), ">f8"),
    "date": (pa.int32(), ">i4"),
    "timestamptz": (pa.int64(), ">i8"),
}


def encoded(batch: pa.RecordBatch, types: dict[str, str]) -> Iterator[memoryview]:
    """The rows of a batch in blocks, between HEADER and TRAILER a whole COPY.

    Args:
        batch: holds columns of the names in `types`.
        types: the columns in their order, with their types: those of NUMBERS, "text" and "text[]". Null characters,
            which Postgres cannot store, are left out of texts.

    Raises:
        TypeError: a type that is not known, or a time without a zone.
        pa.ArrowInvalid: a value does not fit its type.
    """
    columns = batch.select(list(types))
    if columns.num_rows > 1 and columns.nbytes > BLOCK_BYTES:
        half = columns.num_rows // 2
        yield from encoded(columns.slice(0, half), types)
        yield from encoded(columns.slice(half), types)
    elif columns.num_rows:
        yield memoryview(_block(columns.columns, list(types.values())))


def encoded_array(column: pa.Array, kind: str) -> bytes:
    """A column of one row or more as the one array that array_send(array_agg(...)) makes of it.

    Raises:
        TypeError, pa.ArrowInvalid: as `encoded`.
    """
    rows = _Rows(len(column))
    _add(rows, column, kind)
    head = (1, int(column.null_count > 0), OIDS[kind], len(column), 1)
    return b"".join([*(number.to_bytes(4, "big") for number in head), content_of(rows.joined())])


def content_of(array: pa.Array) -> pa.Buffer:
    """The bytes of all values of a string or binary array, one after the other."""
    content = array.buffers()[2]
    if content is None or not len(array):
        return pa.py_buffer(b"")
    ends = _offsets(array)
    return content.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _block(columns: Sequence[pa.Array], types: Sequence[str]) -> pa.Buffer:
    rows = _Rows(len(columns[0]))
    rows.number(">i2", len(columns))
    for column, kind in zip(columns, types, strict=True):
        _add(rows, column, kind)
    return content_of(rows.joined())


class _Rows:
    """Rows of bytes under way: numbers side by side until a text comes between them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.numbers: list[tuple[str, npt.ArrayLike]] = []
        self.pieces: list[pa.Array] = []

    def number(self, dtype: str, values: npt.ArrayLike) -> None:
        """Append a number to each row; `values` is one for all, or one a row."""
        self.numbers.append((dtype, values))

    def bytes(self, values: pa.Array) -> None:
        """Append the bytes of a binary array without nulls, one value a row."""
        self._lay_out()
        self.pieces.append(values)

    def joined(self) -> pa.Array:
        """The rows, as a binary array."""
        self._lay_out()
        return pc.binary_join_element_wise(*self.pieces, b"") if len(self.pieces) > 1 else self.pieces[0]

    def _lay_out(self) -> None:
        if self.numbers:
            laid = np.empty(self.size, [(str(at), dtype) for at, (dtype, _) in enumerate(self.numbers)])
            for at, (_, values) in enumerate(self.numbers):
                laid[str(at)] = values
            ends = np.arange(self.size + 1, dtype=np.int32) * np.int32(laid.itemsize)
            self.pieces.append(_binary(ends, pa.py_buffer(laid)))
            self.numbers = []


def _add(rows: _Rows, column: pa.Array, kind: str) -> None:
    """Append each value after its length."""
    if kind == "text":
        _add_texts(rows, column)
    elif kind == "text[]":
        _add_lists(rows, column)
    else:
        _add_numbers(rows, column, kind)


def _add_numbers(rows: _Rows, column: pa.Array, kind: str) -> None:
    if kind not in NUMBERS:
        raise TypeError(f"columns of the type {kind} cannot be copied; known are text, text[] and {', '.join(NUMBERS)}")
    stored, dtype = NUMBERS[kind]
    if column.null_count == len(column):
        rows.number(">i4", -1)
        return
    numbers = _since_epoch(column, kind) if kind in EPOCH else column.cast(stored)
    values = numbers.fill_null(False if kind == "bool" else 0).to_numpy(zero_copy_only=False)
    width = np.dtype(dtype).itemsize
    if not column.null_count:
        rows.number(">i4", width)
        rows.number(dtype, values)
        return
    there = _Rows(len(column))
    there.number(">i4", width)
    there.number(dtype, values)
    rows.bytes(pc.if_else(column.is_valid(), there.joined(), pa.scalar(NULL, pa.binary())))


def _add_texts(rows: _Rows, column: pa.Array) -> None:
    texts = _clean(column)
    rows.number(">i4", pc.binary_length(texts).fill_null(-1).to_numpy())
    rows.bytes(texts.fill_null(b""))


def _add_lists(rows: _Rows, column: pa.Array) -> None:
    """Each list as array_recv reads it: dimensions, nulls or none, the elements' type, how many, the first's index."""
    column = column.cast(pa.list_(pa.string()))
    sizes = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
    texts = _clean(column.flatten())
    elements = _Rows(len(texts))
    _add_texts(elements, texts)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    content = elements.joined()
    ends = _offsets(content)[starts] if len(texts) else np.zeros(len(starts), np.int32)
    lists = _binary(ends, content.buffers()[2] or pa.py_buffer(b""))
    some = _Rows(len(column))
    some.number(">i4", 20 + np.diff(ends))
    some.number(">i4", 1)
    some.number(">i4", 1)  # there may be nulls: array_recv finds them itself
    some.number(">i4", TEXT_OID)
    some.number(">i4", sizes)
    some.number(">i4", 1)
    none = pa.scalar(b"".join(number.to_bytes(4, "big") for number in (12, 0, 0, TEXT_OID)), pa.binary())
    heads = pc.if_else(pa.array(sizes > 0), some.joined(), none)
    rows.bytes(pc.if_else(column.is_valid(), heads, pa.scalar(NULL, pa.binary())))
    rows.bytes(lists)


def _since_epoch(column: pa.Array, kind: str) -> pa.Array:
    """Days, or microseconds, since Postgres' own beginning of time."""
    if kind == "timestamptz":
        if not pa.types.is_timestamp(column.type) or column.type.tz is None:
            raise TypeError(f"a timestamptz needs times with a zone, not {column.type}")
        column = column.cast(pa.timestamp("us", "UTC"))
    else:
        column = column.cast(pa.date32())
    numbers = column.view(NUMBERS[kind][0])
    return pc.subtract_checked(numbers, pa.scalar(EPOCH[kind], numbers.type))


def _clean(column: pa.Array) -> pa.Array:
    """The texts in UTF-8, null characters left out."""
    texts = column if pa.types.is_binary(column.type) else column.cast(pa.string())
    if texts.null_count < len(texts) and b"\0" in bytes(content_of(texts)):
        texts = pc.replace_substring(texts, "\0", "")
    return texts.cast(pa.binary())


def _binary(ends: npt.NDArray[np.int32], content: pa.Buffer) -> pa.Array:
    """A binary array whose value i lies between ends i and i + 1."""
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), content])


def _offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    """Where the values of a string or binary array begin in its buffer, and where the last one ends."""
    _, ends, _ = array.buffers()
    return np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
