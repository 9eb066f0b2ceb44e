"""The front door: the one Definitions object that Dagster loads."""

from book_search.defs.build import build_definitions

defs = build_definitions()
