"""What the assets work with: the lake, Open Library, CLIP, Postgres, and the search itself.

Each resource reads the settings when it is used, not when the definitions are loaded, so that no secret and no
address is ever part of a run's configuration.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
from psycopg.conninfo import conninfo_to_dict

from book_search.defs.retries import DATABASE, again_later
from book_search.index.connection import bound_session, connect, database, printable
from book_search.lake import Lake, open_lake
from book_search.openlibrary.host_states import SharedHostStates
from book_search.openlibrary.http import PoliteClient, require_contact, user_agent
from book_search.openlibrary.limits import Limits, Window
from book_search.openlibrary.metadata_dump import KnownCovers, known_covers
from book_search.openlibrary.roads import RoadRule
from book_search.openlibrary.rules import CatalogueFilter
from book_search.s3 import ATTEMPTS
from book_search.settings import Settings, load_settings

LONGEST_WAIT = 900  # seconds that a host's pause is sat out for covers; a batch's own time ends the waiting before

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.clip.model import ModelDescription
    from book_search.clip.zero_shot import Facet
    from book_search.search.query import Filters, Query
    from book_search.search.results import Results


class LakeResource(dg.ConfigurableResource["LakeResource"]):
    """The lake at BOOK_SEARCH_HOME."""

    def open(self) -> Lake:
        """The lake, on disk or S3."""
        settings = load_settings()
        return open_lake(
            settings.home, settings.work_folder, settings.s3_endpoint, settings.s3_encryption, dagster_s3_client
        )


def dagster_s3_client(endpoint: str | None, region: str) -> Any:
    """The client of dagster-aws's S3Resource, as every other asset of a Dagster project gets it.

    Keys are left to the environment, where Amazon's tools look for them: the resource's own fields for them would
    make them a part of configuration.

    Raises:
        ModuleNotFoundError: dagster-aws is not installed.
    """
    try:
        from dagster_aws.s3 import S3Resource
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a lake on s3:// needs dagster-aws: pip install 'book_search[s3]'") from error
    return S3Resource(endpoint_url=endpoint, region_name=region, max_attempts=ATTEMPTS).get_client()


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
    def covers_client(self) -> PoliteClient:
        """Asks for covers, at the pace that all processes of this machine share."""
        settings = load_settings()
        return PoliteClient(
            self.user_agent,
            base_url=settings.covers_url,
            allowed_urls=(settings.archive_url,),
            requests_per_minute=settings.requests_per_minute,
            longest_wait=LONGEST_WAIT,
            states=SharedHostStates(settings.pace_path),
        )

    @property
    def road_rule(self) -> RoadRule:
        """By what the road to a batch's covers is chosen."""
        settings = load_settings()
        return RoadRule(settings.archive_url, settings.covers_road, settings.bulk_share, settings.requests_per_minute)

    @property
    def covers_limits(self) -> Limits:
        """When asking for a batch's covers leaves off by itself."""
        settings = load_settings()
        return Limits(
            None if settings.batch_hours is None else 3600 * settings.batch_hours,
            Window.parse(settings.off_peak, settings.time_zone) if settings.off_peak else None,
        )

    def known_covers(self, lake: Lake, wanted: Collection[int]) -> KnownCovers | None:
        """What the dump of covers' metadata says of these covers; None where none is set."""
        address = load_settings().covers_metadata
        return known_covers(lake, address, self.user_agent, wanted) if address else None

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
        return describe_model(settings.model, settings.model_revision, settings.crop)

    def load(self) -> "Clip":
        """The model itself; the first call takes some seconds."""
        from book_search.clip.model import load_clip

        settings = load_settings()
        return load_clip(settings.model, settings.model_revision, settings.device, settings.crop, settings.engine)

    @property
    def facets(self) -> "tuple[Facet, ...]":
        """What is asked of every cover: those of BOOK_SEARCH_FACETS, or the package's own."""
        from book_search.clip.zero_shot import FACETS, load_facets

        return load_facets(Path(load_settings().facets or FACETS))


class DatabaseResource(dg.ConfigurableResource["DatabaseResource"]):
    """Postgres at BOOK_SEARCH_DATABASE_URL, or the embedded server."""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """An open connection, bounded in what it waits for; the embedded server runs at least as long.

        A step in which the server goes away for a moment is run again: what is written, is written in transactions
        that leave nothing of an attempt that failed.
        """
        settings = load_settings()
        with again_later(DATABASE), database(settings.dsn, settings.work_folder) as dsn, connect(dsn) as connection:
            bound_session(connection)
            yield connection

    @property
    def place(self) -> str:
        """Which database it is, without its secrets: host, port and name, or the embedded server's folder."""
        settings = load_settings()
        if settings.dsn is None:
            return str(settings.work_folder)
        printable(settings.dsn)  # an address that cannot be read is refused here, by a message without its password
        parts = conninfo_to_dict(settings.dsn)
        return " ".join(str(parts.get(name, "")) for name in ("host", "hostaddr", "port", "dbname"))

    @property
    def recall_floor(self) -> float:
        """What recall@10 an index must have before it is searched."""
        return load_settings().recall_floor


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
