"""Assembles everything Dagster is to know; tests build it again with resources of their own."""

from typing import Any

import dagster as dg

from book_search.defs.assets import catalogue, covers, evaluation, open_library, search
from book_search.defs.checks import checks
from book_search.defs.jobs import jobs
from book_search.defs.resources import BookSearch, ClipResource, DatabaseResource, LakeResource, OpenLibraryResource
from book_search.defs.schedules import schedules
from book_search.defs.sensors import sensors


def build_definitions(**resources: Any) -> dg.Definitions:
    """The project's definitions, with `resources` in place of the usual ones of the same names."""
    clip, postgres = ClipResource(), DatabaseResource()
    usual = {
        "lake": LakeResource(),
        "open_library": OpenLibraryResource(),
        "clip": clip,
        "postgres": postgres,
        "book_search": BookSearch(clip=clip, postgres=postgres),
    }
    return dg.Definitions(
        assets=dg.load_assets_from_modules([open_library, catalogue, covers, search, evaluation]),
        asset_checks=checks,
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources=usual | resources,
    )
