"""What the assets work with: the lake, Open Library, CLIP, Postgres, and the search itself.

Each resource reads the settings when it is used, not when the definitions are loaded, so that no secret and no
address is ever part of a run's configuration.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
import psycopg

from book_search.index.connection import connect, database
from book_search.lake import Lake, open_lake
from book_search.openlibrary.http import require_contact, user_agent
from book_search.openlibrary.rules import CatalogueFilter
from book_search.settings import Settings, load_settings

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.clip.model import ModelDescription
    from book_search.search.query import Filters, Query
    from book_search.search.results import Results


class LakeResource(dg.ConfigurableResource["LakeResource"]):
    """The lake at BOOK_SEARCH_HOME."""

    def open(self) -> Lake:
        """The lake, on disk or S3."""
        settings = load_settings()
        return open_lake(settings.home, settings.work_folder, settings.s3_endpoint)


class OpenLibraryResource(dg.ConfigurableResource["OpenLibraryResource"]):
    """Open Library, or what plays it: where to ask, how politely, and which books are wanted."""

    @property
    def settings(self) -> Settings:
        """Addresses, rates and the cover size, as set now."""
        return load_settings()

    @property
    def user_agent(self) -> str:
        """How every request introduces itself. Raises MissingContactError where a real host would be asked without."""
        settings = load_settings()
        agent = user_agent(settings.contact)
        require_contact(agent, settings.open_library_url)
        return agent

    @property
    def catalogue_filter(self) -> CatalogueFilter:
        """Which books are wanted."""
        return CatalogueFilter.from_settings(load_settings())

    @property
    def memory_limit(self) -> str:
        """What DuckDB may hold while books are chosen."""
        return load_settings().memory_limit


class ClipResource(dg.ConfigurableResource["ClipResource"]):
    """The CLIP model of BOOK_SEARCH_MODEL, loaded only once something must be computed."""

    def describe(self) -> "ModelDescription":
        """Its identity and dimension, read from its configuration alone."""
        from book_search.clip.model import describe_model

        settings = load_settings()
        return describe_model(settings.model, settings.model_revision)

    def load(self) -> "Clip":
        """The model itself; the first call takes some seconds."""
        from book_search.clip.model import load_clip

        settings = load_settings()
        return load_clip(settings.model, settings.model_revision, settings.device)


class DatabaseResource(dg.ConfigurableResource["DatabaseResource"]):
    """Postgres at BOOK_SEARCH_DATABASE_URL, or the embedded server."""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """An open connection; the embedded server runs at least as long."""
        settings = load_settings()
        with database(settings.dsn, settings.work_folder) as dsn, connect(dsn) as connection:
            yield connection


class BookSearch(dg.ConfigurableResource["BookSearch"]):
    """The search as a resource: `book_search.search(Query(...))` in any asset, check or sensor."""

    clip: dg.ResourceDependency[ClipResource]
    postgres: dg.ResourceDependency[DatabaseResource]

    def search(self, query: "Query", limit: int = 10, filters: "Filters | None" = None) -> "Results":
        """The books whose covers fit the query best; see `book_search.search.engine.search`."""
        from book_search.search.engine import search
        from book_search.search.query import Filters

        with self.postgres.connection() as connection:
            return search(connection, self.clip.load, query, limit, filters or Filters())
