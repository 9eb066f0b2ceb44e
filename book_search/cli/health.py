"""What `book-search doctor` looks at: each thing that a run needs, with the way out where it is missing."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from book_search.cli import configured
from book_search.openlibrary.hosts import is_own
from book_search.settings import Settings, load_settings

ROOM = 30_000_000_000  # bytes: the dumps of two months, the covers and the database
LITTLE_ROOM = 1_000_000_000  # for a library that is served on this machine


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `warns` is for what works, but slower or less safely than it could."""

    what: str
    good: bool
    says: str
    warns: bool = False


def examine() -> list[Finding]:
    """Every finding, good ones too, in the order of the road."""
    settings = load_settings()
    return [_contact(settings), *_lake(settings), _model(settings), *_database(settings), *_slots(settings)]


def _contact(settings: Settings) -> Finding:
    asked = settings.covers_url
    if settings.contact or _is_own(asked):
        return Finding("contact", True, settings.contact or f"not needed for {asked}")
    says = "set BOOK_SEARCH_CONTACT to your e-mail or web address; Open Library is not asked without it"
    return Finding("contact", False, says)


def _lake(settings: Settings) -> Iterator[Finding]:
    try:
        lake = configured.lake()
        lake.write_bytes("doctor.txt", b"written by book-search doctor")
        lake.delete("doctor.txt")
    except (OSError, ValueError, ImportError) as error:
        yield Finding("lake", False, f"{settings.home} cannot be written: {error}; look at BOOK_SEARCH_HOME")
        return
    yield Finding("lake", True, lake.uri("").rstrip("/"))
    settings.work_folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.work_folder).free
    room = LITTLE_ROOM if _is_own(settings.open_library_url) else ROOM
    says = f"{free / 1e9:.0f} GB free in {settings.work_folder}"
    advice = f"; {room / 1e9:.0f} GB are needed: set BOOK_SEARCH_HOME or BOOK_SEARCH_WORK to a larger disk"
    yield Finding("disk", free > room, says if free > room else says + advice)


def _is_own(url: str) -> bool:
    """Whether an address is on a host of one's own, by the rule that fetching goes by."""
    return is_own(urlsplit(url).hostname or "")


def _model(settings: Settings) -> Finding:
    from book_search.clip.model import ModelUnavailableError, describe_model

    try:
        description = describe_model(settings.model, settings.model_revision, settings.crop)
    except (ModelUnavailableError, ValueError) as error:
        return Finding("model", False, str(error))
    return Finding("model", True, f"{description.identity}, {description.dim} numbers a vector")


def _database(settings: Settings) -> Iterator[Finding]:
    from book_search.index.connection import connect, database, printable
    from book_search.index.schema import check_server, pgvector_danger
    from book_search.index.server_settings import look_at_server

    try:
        with database(settings.dsn, settings.work_folder) as dsn, connect(dsn) as connection:
            check_server(connection)
            yield Finding("database", True, printable(dsn))
            versions = connection.execute(
                "select current_setting('server_version'), "
                "(select extversion from pg_extension where extname = 'vector')"
            ).fetchone()
            assert versions is not None
            danger = pgvector_danger(connection)
            says = f"Postgres {versions[0]}, pgvector {versions[1] or 'not installed yet'}"
            yield Finding("server", True, "; ".join(filter(None, (says, danger))), warns=bool(danger))
            for found in look_at_server(connection):
                yield Finding(found.what, True, found.says, warns=not found.good)
    except (OSError, RuntimeError) as error:
        yield Finding("database", False, str(error))


def _slots(settings: Settings) -> Iterator[Finding]:
    """The pools' slots that are taken, where Dagster has run."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.work_folder / "dagster")
    if not (home / "dagster.yaml").is_file():
        return
    import dagster as dg

    from book_search.defs.slots import held_slots

    with dg.DagsterInstance.from_config(str(home)) as instance:
        for slot in held_slots(instance):
            says = f"a slot of {slot.limit} is held by {slot.run}"
            if slot.gone:
                says += ", whose process is gone: book-search doctor --free-slots gives it back"
            yield Finding(f"pool {slot.pool}", True, says, warns=slot.gone)
