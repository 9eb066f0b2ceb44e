"""What the tags of a range say, for a person to read: how sure they are, and which are commonest."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from book_search.clip.model import ModelDescription
from book_search.clip.zero_shot import tags_folder
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.schemas import TAGS

COMMONEST = 3  # tags of a facet that are named


@dataclass(frozen=True)
class TagSummary:
    """The tags of a range.

    Attributes:
        probabilities: by facet, of the tag that each cover got.
        commonest: the tags that most covers have, by facet: `facet`, `tag`, `covers`, `share`.
    """

    probabilities: dict[str, np.ndarray]
    commonest: pa.Table


def summarize_tags(lake: Lake, description: ModelDescription, cover_range: CoverRange) -> TagSummary:
    """Read the tags of a range by a model and sum them up."""
    columns = ["facet", "tag", "probability"]
    files = lake.names(tags_folder(description, cover_range))
    tags = pa.concat_tables([lake.read_table(path, columns) for path in files] or [TAGS.empty_table().select(columns)])
    probabilities, rows = {}, []
    for facet in sorted(pc.unique(tags["facet"]).to_pylist()):
        of_facet = tags.filter(pc.equal(tags["facet"], facet))
        probabilities[facet] = of_facet["probability"].to_numpy()
        counted = sorted((-each["counts"], each["values"]) for each in pc.value_counts(of_facet["tag"]).to_pylist())
        rows += [
            {"facet": facet, "tag": tag, "covers": -count, "share": round(-count / of_facet.num_rows, 3)}
            for count, tag in counted[:COMMONEST]
        ]
    schema = pa.schema([("facet", pa.string()), ("tag", pa.string()), ("covers", pa.int64()), ("share", pa.float64())])
    return TagSummary(probabilities, pa.Table.from_pylist(rows, schema=schema))
