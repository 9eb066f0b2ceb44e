"""What must hold before data goes on, and what a person should look at: the specs of the checks, and their verdicts.

All are given by the assets themselves as they are made (a check of its own would cost a process), so the assets know
their specs, and give what they saw to the functions here. What is compared with the last time comes from Dagster's
event log; what is looked at in the files, from the library. A blocking check that fails stops what comes after it in
its run; each says what the way out is.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from book_search.clip.soundness import VectorsLook
from book_search.defs.history import Earlier
from book_search.evaluation.usual import Share, fell, is_near, usual_number, worse_than_last
from book_search.openlibrary.catalogue import CatalogueRecord
from book_search.openlibrary.dumps import DumpRecord
from book_search.openlibrary.soundness import BooksLook

# Open Library publishes once a month, within a few days of its beginning.
PUBLISHED_EVERY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=50), warn_window=timedelta(days=40))
OLDEST_DUMP = 45  # days since its date
LEAST_OF_LAST = 0.9  # records of the dump before: dumps grow; one that lost a tenth was cut off where it was made
USUAL_BOOKS = 0.2  # in January a window of ten years loses a tenth of its books and has hardly gained any
LEAST_FOUND = 0.66  # of real covers a few in a hundred are missing; where a third is, the server has a bad day
FELL_BY = 0.05  # of the covers found; ranges differ by less

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def dump_checks(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of a dump's asset."""
    return [
        _spec(asset, "whole", "the file in the lake has the bytes that its record tells of", blocking=True),
        _spec(asset, "not_older", "it is of no earlier date than the dump before", blocking=True),
        _spec(asset, "not_smaller", f"it has at least {LEAST_OF_LAST:.0%} of the records of the last", blocking=True),
        _spec(asset, "recent", f"it is at most {OLDEST_DUMP} days old"),
    ]


def judge_dump(
    dump: DumpRecord, faults: Sequence[str], before: Sequence[Earlier], today: date, chosen: bool = False
) -> list[dg.AssetCheckResult]:
    """Verdicts on a dump.

    Args:
        faults: of its file.
        before: earlier materializations, newest first.
        chosen: whether the books are of this dump already: somebody took the way out, or nothing was wrong with it.
    """
    if not dump.published:
        note = {"note": "none is published, and the road goes on without"}
        rest = [dg.AssetCheckResult(check_name=name, passed=True, metadata=note) for name in DUMP_NAMES[1:]]
        return [_verdict("whole", not faults, faults="; ".join(faults)), *rest]
    published = (each.metadata for each in before if each.metadata.get("records") != 0)  # a month may lack a kind
    last = next((each for each in published if each.get("sha256") not in (None, dump.sha256) and not chosen), {})
    last_date, last_records = last.get("dump_date", ""), last.get("records")
    shrunk = last_records and dump.lines is not None and dump.lines < LEAST_OF_LAST * last_records
    meant = "; if that is meant, materialize `books` by itself"
    age = (today - dump.date).days
    return [
        _verdict("whole", not faults, faults="; ".join(faults), way_out="materialize it again" if faults else ""),
        _verdict(
            "not_older",
            dump.date.isoformat() >= last_date,
            dump_date=dump.date.isoformat(),
            last_date=last_date,
            way_out=f"look at {dump.source_url}{meant}" if dump.date.isoformat() < last_date else "",
        ),
        _verdict(
            "not_smaller",
            not shrunk,
            records=dump.lines,
            last_records=last_records,
            way_out=f"look at {dump.source_url}{meant}" if shrunk else "",
        ),
        _verdict("recent", age <= OLDEST_DUMP, WARN, days_old=age),
    ]


BOOKS_CHECKS = [
    dg.AssetCheckSpec("keys", asset="books", blocking=True, description="there are books, and no edition twice"),
    dg.AssetCheckSpec(
        "in_range", asset="books", blocking=True, description="years and pages are those that the filter wants"
    ),
    dg.AssetCheckSpec(
        "usual_number", asset="books", description=f"as many as with this filter before, give or take {USUAL_BOOKS:.0%}"
    ),
]


def judge_books(look: BooksLook, made: CatalogueRecord, before: Sequence[Earlier]) -> list[dg.AssetCheckResult]:
    """Verdicts on the books. `before`: earlier materializations, newest first; those of another filter say nothing."""
    numbers = [each.metadata.get("dagster/row_count") for each in before if each.metadata.get("filter") == made.filter]
    usual = usual_number([number for number in numbers if number is not None])
    sound_keys = look.books > 0 and not look.doubled and not look.without_key
    in_range = not look.years_out and not look.pages_out
    way_out = f"look into {made.path}; if it is as it should be, materialize `book_rows` by itself"
    return [
        _verdict(
            "keys",
            sound_keys,
            books=look.books,
            doubled=look.doubled,
            without_key=look.without_key,
            way_out="" if sound_keys else way_out,
        ),
        _verdict(
            "in_range",
            in_range,
            years_out=look.years_out,
            pages_out=look.pages_out,
            such_as=look.such_as,
            way_out="" if in_range else way_out,
        ),
        _verdict("usual_number", is_near(look.books, usual, USUAL_BOOKS), WARN, books=look.books, usual=usual),
    ]


COVERS_CHECKS = [
    dg.AssetCheckSpec(
        "found",
        asset="covers",
        description=f"the share of covers found: {LEAST_FOUND:.0%} or more, and none of the ranges fell by more than "
        f"{FELL_BY:.0%} and by more than chance",
    )
]


def judge_found(now: Mapping[str, Share], before: Sequence[Earlier]) -> dg.AssetCheckResult:
    """The verdict on the covers found, by range. A warning: what was had is good, the rest is tried again later.

    Args:
        before: earlier materializations, newest first. A range is compared with itself, a new one with all others.
    """
    last: dict[str, Share] = {}
    for each in before:
        if each.partition and (covers := each.metadata.get("covers")):
            last.setdefault(each.partition, Share(each.metadata.get("status_ok", 0), covers))
    pooled = Share(sum(each.found for each in last.values()), sum(each.of for each in last.values()))
    low = [key for key, share in now.items() if fell(share, last.get(key, pooled), FELL_BY)]
    whole = Share(sum(each.found for each in now.values()), sum(each.of for each in now.values()))
    return _verdict(
        "found",
        not low and whole.value >= LEAST_FOUND,
        WARN,
        wanted=whole.of,
        found=whole.found,
        share=round(whole.value, 4),
        usual=round(pooled.value, 4) if pooled.of else None,
        fell=", ".join(low),
    )


EMBEDDINGS_CHECKS = [
    dg.AssetCheckSpec(
        "vectors",
        asset="cover_embeddings",
        blocking=True,
        description="every picture has its vector or a reason why not; all are finite and of unit length",
    )
]


def judge_vectors(looks: Mapping[str, VectorsLook]) -> dg.AssetCheckResult:
    """The verdict on the embeddings of some ranges."""
    bad = [key for key, look in looks.items() if not look.sound]
    together = sum((looks[key] for key in looks), VectorsLook())
    way_out = "remove the embeddings files of these ranges from the lake, then materialize them again" if bad else ""
    return _verdict("vectors", not bad, **together.as_metadata(), bad_ranges=", ".join(bad), way_out=way_out)


REPORT_CHECKS = [
    dg.AssetCheckSpec(
        "not_worse",
        asset="relevance_report",
        description="no measure lies under the 95% interval that it had in the last report on the same model",
    )
]


def judge_report(report: Mapping[str, Any], before: Sequence[Earlier]) -> dg.AssetCheckResult:
    """The verdict on a report, as `RelevanceReport.as_dict` gives it. `before`: earlier ones, newest first."""
    reports = [each.metadata["figures"] for each in before if "figures" in each.metadata]
    last = next((each for each in reports if each["model"] == report["model"]), None)
    worse = {} if last is None else worse_than_last(report["measures"], last["measures"])
    return _verdict(
        "not_worse",
        not worse,
        compared_with="the last report" if last else "nothing: it is the first on this model",
        worse="; ".join(f"{name} {now:.3f}, last time not under {low:.3f}" for name, (now, low) in worse.items()),
    )


def _spec(asset: str, name: str, description: str, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def _verdict(
    name: str, passed: bool, severity: dg.AssetCheckSeverity = ERROR, **figures: str | float | None
) -> dg.AssetCheckResult:
    told = {name: figure for name, figure in figures.items() if figure not in (None, "")}
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=told)


DUMP_NAMES = tuple(spec.name for spec in dump_checks("edition_dump"))
