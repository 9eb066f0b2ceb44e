"""The tags of a range, summed up for a person to read."""

import pyarrow as pa

from book_search.clip.encoder import Clip
from book_search.clip.tag_summary import summarize_tags
from book_search.clip.zero_shot import tags_folder
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.schemas import TAGS

RANGE = CoverRange.parse("0014_6")


def test_the_commonest_tags_are_named_by_facet_and_all_probabilities_kept(lake: Lake, clip: Clip) -> None:
    for batch, tags in {"0014_60": ["red", "red", "blue"], "0014_61": ["red", "grey", "pink", "blue"]}.items():
        rows = [{"cover_id": n, "facet": "colour", "tag": tag, "probability": 0.5} for n, tag in enumerate(tags)]
        rows.append({"cover_id": 0, "facet": "mood", "tag": "calm", "probability": 0.25})
        table = pa.Table.from_pylist(rows, schema=TAGS)
        lake.write_table(f"{tags_folder(clip.description, RANGE)}/{batch}.parquet", table)

    found = summarize_tags(lake, clip.description, RANGE)

    assert {facet: each.tolist() for facet, each in found.probabilities.items()} == {
        "colour": [0.5] * 7,
        "mood": [0.25] * 2,
    }
    assert found.commonest.to_pylist() == [
        {"facet": "colour", "tag": "red", "covers": 3, "share": 0.429},
        {"facet": "colour", "tag": "blue", "covers": 2, "share": 0.286},
        {"facet": "colour", "tag": "grey", "covers": 1, "share": 0.143},  # as many as pink, which comes after it
        {"facet": "mood", "tag": "calm", "covers": 2, "share": 1.0},
    ]


def test_a_range_without_tags_sums_up_to_nothing(lake: Lake, clip: Clip) -> None:
    found = summarize_tags(lake, clip.description, RANGE)
    assert (found.probabilities, found.commonest.num_rows) == ({}, 0)
