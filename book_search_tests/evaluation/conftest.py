"""The search's planted library, for measuring what is found in it."""

from book_search_tests.database import *  # noqa: F403
from book_search_tests.search.conftest import clip, library, planted_dsn, searching

__all__ = ["clip", "library", "planted_dsn", "searching"]
