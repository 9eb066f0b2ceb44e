"""The columns of every Parquet file in the lake, and the rows that travel between the stages."""

import pyarrow as pa

BOOKS = pa.schema(
    [
        pa.field("edition_key", pa.string(), nullable=False),  # OL123M
        pa.field("work_key", pa.string()),  # OL45W, after redirects
        pa.field("title", pa.string(), nullable=False),
        ("subtitle", pa.string()),
        ("authors", pa.list_(pa.string())),
        ("publish_year", pa.int16()),
        ("pages", pa.int32()),
        ("isbn13", pa.string()),
        ("publisher", pa.string()),
        ("subjects", pa.list_(pa.string())),
        ("description", pa.string()),
        ("languages", pa.list_(pa.string())),  # MARC codes, such as eng
        ("cover_id", pa.int64()),
        ("dump_date", pa.date32()),
        pa.field("content_hash", pa.string(), nullable=False),  # of every column before dump_date
    ]
)

FUNNEL = pa.schema(
    [
        ("dump_date", pa.date32()),
        ("position", pa.int16()),
        ("rule", pa.string()),
        ("rows_in", pa.int64()),
        ("rows_out", pa.int64()),
    ]
)

REJECTS = pa.schema([("dump", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("content", pa.string())])

# One row a wanted cover id, in files of one archive batch (10,000 ids).
LEDGER = pa.schema(
    [
        pa.field("cover_id", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("http_status", pa.int16()),
        ("attempts", pa.int16()),
        ("next_try", pa.timestamp("us", tz="UTC")),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),  # hexadecimal, of the image's bytes as served
        ("source_url", pa.string()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
    ]
)

# What a covers file holds: its ledger, and the bytes beside the first row of each sha256. One file, so that
# a row that says `ok` and the picture it speaks of appear in the same rename.
COVERS = LEDGER.append(pa.field("image", pa.binary()))

TAGS = pa.schema(
    [
        pa.field("cover_id", pa.int64(), nullable=False),
        ("facet", pa.string()),
        ("tag", pa.string()),
        ("probability", pa.float32()),
        ("template", pa.string()),
    ]
)


def embeddings(dim: int) -> pa.Schema:
    """The columns of an embeddings file: unit vectors of `dim` numbers, keyed by cover and by the image's sha256."""
    return pa.schema(
        [
            pa.field("cover_id", pa.int64(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ]
    )
