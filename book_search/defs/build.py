"""Assembles everything Dagster is to know; tests build it again with resources of their own."""

from typing import Any

import dagster as dg
from pydantic import ValidationError

from book_search.defs.assets import catalogue, covers, evaluation, open_library, search
from book_search.defs.jobs import jobs
from book_search.defs.resources import BookSearch, ClipResource, DatabaseResource, LakeResource, OpenLibraryResource
from book_search.defs.schedules import build_schedules
from book_search.defs.sensors import build_sensors
from book_search.settings import Settings, load_settings


def build_definitions(**resources: Any) -> dg.Definitions:
    """The project's definitions, with `resources` in place of the usual ones of the same names.

    Raises:
        dg.DagsterInvalidDefinitionError: a setting is wrong; the message names its variable.
    """
    settings = _settings()
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
        jobs=jobs,
        schedules=build_schedules(settings),
        sensors=build_sensors(settings.automation),
        resources=usual | resources,
    )


def _settings() -> Settings:
    """The settings, by which schedules and sensors are made; told in one line where they are wrong, without values."""
    try:
        return load_settings()
    except ValidationError as error:
        wrong = (f"BOOK_SEARCH_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors())
        raise dg.DagsterInvalidDefinitionError("; ".join(wrong)) from None
