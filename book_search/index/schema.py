"""The database's schema: the files of `sql/`, applied in order when one of them changed.

Knows which servers will do and where the files lie; what they say is theirs.
"""

import hashlib
import logging
from pathlib import Path

import psycopg

from book_search.index.connection import Connection, prepare_session
from book_search.index.merging import one_at_a_time
from book_search.index.swap import hold_embeddings

OLDEST_SERVER = 150_000  # Postgres 15: as server_version_num
REFUSED_BELOW = (0, 8, 2)  # CVE-2026-3172: a parallel HNSW build writes beyond its buffer
WARNED_BELOW = (0, 8, 4)  # vacuum can damage an HNSW index (mended in 0.8.3 and 0.8.4)
LOCK = 0x626F6F6B  # "book": the advisory lock under which one process at a time applies the files

log = logging.getLogger(__name__)


class UnfitServerError(RuntimeError):
    """This Postgres cannot hold the index as it is; the message says what to change."""


def apply_sql(conn: Connection) -> bool:
    """Bring the database's schema to what the files of `sql/` say; True if anything had to be done.

    Everything happens in one transaction. Unchanged files cost three queries. Needs no superuser, but where
    pgvector has to be installed first.

    Raises:
        UnfitServerError: Postgres is older than 15, does not store UTF-8, or has no fit pgvector.
    """
    files = [(path.name, path.read_bytes()) for path in sorted(sql_folder().glob("*.sql"))]
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in files}
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        check_server(conn)
        if _applied(conn) == wanted and not _spelling_is_new(conn):
            return False
        hold_embeddings(conn, alone=True)  # or a load that runs could wait for us while we wait for it
        one_at_a_time(conn, "book", 0)
        # A function's `SET hnsw...` is refused to all but superusers until the library that knows it is loaded.
        if _pgvector(conn)[0]:
            _load_library(conn)
        for name, content in files:
            try:
                conn.execute(content)
            except psycopg.errors.InsufficientPrivilege as error:
                raise UnfitServerError(
                    f"sql/{name}: {error.diag.message_primary}. Have a superuser run once, in this database: "
                    "CREATE EXTENSION vector; CREATE SCHEMA book_search AUTHORIZATION <your role>;"
                ) from error
            if name == files[0][0]:
                _load_library(conn)
        conn.execute("DELETE FROM book_search.applied_sql")
        conn.cursor().executemany(
            "INSERT INTO book_search.applied_sql (file, sha256) VALUES (%s, %s)", list(wanted.items())
        )
    prepare_session(conn)
    return True


def sql_folder() -> Path:
    """Where the files lie: inside an installed package, or beside the package in a checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_sql", package.parent / "sql"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"neither {package / '_sql'} nor {package.parent / 'sql'} exists; install book_search again"
    )


def check_server(conn: Connection) -> None:
    """Raise UnfitServerError where the index cannot live, warn where it lives in danger."""
    if conn.info.server_version < OLDEST_SERVER:
        raise UnfitServerError(f"Postgres {conn.info.parameter_status('server_version')} is too old; use 15 or newer")
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise UnfitServerError(f"the database stores {encoding}; make one with ENCODING 'UTF8'")
    installed, available = _pgvector(conn)
    if not (installed or available):
        raise UnfitServerError(
            "this server does not have pgvector; install version 0.8.4 or newer (https://github.com/pgvector/pgvector)"
        )
    version = installed or available
    if _number(version) < REFUSED_BELOW:
        raise UnfitServerError(
            f"pgvector {version} can write beyond its buffer in a parallel HNSW build (CVE-2026-3172){_mend(installed)}"
        )
    if danger := pgvector_danger(conn):
        log.warning("%s", danger)


def pgvector_danger(conn: Connection) -> str:
    """What this version of pgvector may do, where it is one that serves but had better be newer; else nothing."""
    installed, available = _pgvector(conn)
    version = installed or available
    if not version or _number(version) >= WARNED_BELOW:
        return ""
    return f"pgvector {version} can damage an HNSW index when it is vacuumed{_mend(installed)}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _mend(installed: str) -> str:
    return "; update it, then: ALTER EXTENSION vector UPDATE" if installed else "; install a newer one"


def _pgvector(conn: Connection) -> tuple[str, str]:
    """The versions of pgvector installed in this database, and available to it; empty where there is none."""
    row = conn.execute(
        """SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
                  (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')"""
    ).fetchone()
    installed, available = row or (None, None)
    return installed or "", available or ""


def _applied(conn: Connection) -> dict[str, str]:
    """The digests of the files applied last."""
    row = conn.execute("SELECT to_regclass('book_search.applied_sql')").fetchone()
    if row is None or row[0] is None:
        return {}
    return dict(conn.execute("SELECT file, sha256 FROM book_search.applied_sql").fetchall())


def _spelling_is_new(conn: Connection) -> bool:
    """Whether pg_trgm was installed since the files were applied: sql/ then makes an index that it did not make."""
    row = conn.execute(
        """SELECT to_regclass('book_search.book_spelling') IS NULL AND EXISTS (
               SELECT FROM pg_extension WHERE extname = 'pg_trgm' AND has_schema_privilege(extnamespace, 'USAGE'))"""
    ).fetchone()
    return bool(row and row[0])


def _load_library(conn: Connection) -> None:
    """Have this session load pgvector's library, wherever the extension's schema is."""
    prepare_session(conn)
    conn.execute("SELECT '[1]'::halfvec <=> '[1]'")
