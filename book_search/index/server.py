"""The embedded Postgres: started by the first who needs it, shared, and stopped by the last.

Knows processes, locks and folders; nothing of what the database holds. Every user of one `home` holds a
shared flock on `users.lock`, which the kernel releases however that process ends, so nobody counts wrongly.
"""

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from book_search.index.binaries import (
    MAJOR,
    Account,
    EmbeddedServerError,
    postgres_binary,
    programs_for,
    server_account,
)

__all__ = ["EmbeddedServerError", "embedded_server", "postgres_binary"]

DATABASE = "book_search"
SUPERUSER = "postgres"
PORT = 5432  # only names the socket's file: the server listens on no network
SOCKET_PATH_LIMIT = 103  # bytes that every system accepts in sockaddr_un, less the terminator (macOS: 104)
START_SECONDS = 30.0  # after a kill, for the last of its processes to end
RECOVERY_SECONDS = 600.0  # for a server that answers "starting up" while it replays its log
STOP_SECONDS = 120.0
CONNECT_SECONDS = 10
LOG_BYTES = 10_000_000  # the server's log is put aside above this size
LOCALES = ("C.UTF-8", "en_US.UTF-8", "UTF-8")  # character classes for full text: Linux, older Linux, macOS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """One embedded server's places: all of them under `folder`, but for a socket whose path would be too long."""

    folder: Path
    sockets: Path
    programs: Path
    account: Account

    @property
    def data(self) -> Path:
        """The data directory; its name carries the major version that alone can open it."""
        return self.folder / f"data-{MAJOR}"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def dsn(self, database: str = DATABASE) -> str:
        """The address of a database of this server."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.sockets), safe='')}&port={PORT}"


@contextmanager
def embedded_server(home: Path) -> Iterator[str]:
    """The address of the Postgres under `home`, running for the length of the block.

    The first user makes the database and starts the server (0.6 s new, 0.2 s known), others share it, the last
    one stops it. Safe to call from several processes, threads, and nested.

    Args:
        home: a local folder; the server lives in its folder `postgres`. Where we are root and the server's
            account cannot reach `home`, it lives in a folder of /var/tmp named after `home` instead.

    Raises:
        EmbeddedServerError: it cannot be made or started; the message ends with the server's own last words.
    """
    cluster = _cluster(home.resolve())
    with (cluster.folder / "users.lock").open("a") as users:
        with _start_lock(cluster):
            _flock(users.fileno(), exclusive=False)
            try:
                _start(cluster)
            except BaseException:
                _stop_if_last(cluster, users.fileno())
                raise
        try:
            yield cluster.dsn()
        finally:
            with _start_lock(cluster):
                _stop_if_last(cluster, users.fileno())


def _cluster(home: Path) -> Cluster:
    """Choose the places for `home` and make their folders."""
    if os.name == "nt":
        raise EmbeddedServerError("the embedded server runs on Linux and macOS; set BOOK_SEARCH_DATABASE_URL")
    account = server_account()
    name = f"book_search-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}-{account.uid}"
    folder = home / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    if account.switch:
        if not account.can("-x", folder):
            log.info("The server's account cannot reach %s; the database lies in /var/tmp/%s", folder, name)
            folder = _private(Path("/var/tmp") / name, account)
        if folder.stat().st_uid != account.uid:
            os.chown(folder, account.uid, account.gid)
    sockets = folder / "socket"
    if len(os.fsencode(sockets / f".s.PGSQL.{PORT}")) > SOCKET_PATH_LIMIT:
        sockets = Path("/tmp") / name
    _private(sockets, account)
    return Cluster(folder, sockets, programs_for(account, folder), account)


def _private(folder: Path, account: Account) -> Path:
    """Make `folder` for `account` alone; refuse one that another user put there before us."""
    try:
        folder.mkdir(mode=0o700)
        if account.switch:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        pass
    owner = folder.lstat().st_uid
    if folder.is_symlink() or owner not in (account.uid, os.geteuid()):
        raise EmbeddedServerError(f"{folder} belongs to user {owner}; remove it, or choose another home")
    return folder


@contextmanager
def _start_lock(cluster: Cluster) -> Iterator[None]:
    """One process at a time starts or stops the server."""
    with (cluster.folder / "start.lock").open("a") as lock:
        _flock(lock.fileno(), exclusive=True)
        yield


def _flock(descriptor: int, *, exclusive: bool, wait: bool = True) -> bool:
    """Take a lock on an open file; False where that would mean waiting and `wait` is false."""
    import fcntl  # not on Windows, where `_cluster` has said so

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _start(cluster: Cluster) -> None:
    """Have the server answer, whatever state its last user left it in."""
    if not (cluster.data / "PG_VERSION").exists():
        _initialise(cluster)
    began = time.monotonic()
    said = ""
    while True:
        state = _readiness(cluster)
        if state == "ready":
            break
        waited = time.monotonic() - began
        if state == "starting" and waited > STOP_SECONDS and _is_stopping(cluster):
            _pg_ctl(cluster, STOP_SECONDS, "stop", "-m", "immediate")  # whoever stopped it was killed, or it is stuck
        if waited > (RECOVERY_SECONDS if state == "starting" else START_SECONDS):
            raise EmbeddedServerError(f"Postgres in {cluster.data} does not start: {said}{_last_words(cluster)}")
        if state == "down":
            _forget_dead_postmaster(cluster)
            _configure(cluster)
            # Right after a kill, backends may still hold the shared memory, and the first attempts fail.
            said = _pg_ctl(cluster, START_SECONDS, "start", "-l", str(cluster.log_file))
        time.sleep(0.05)
    _make_database(cluster)


def _readiness(cluster: Cluster) -> str:
    """`ready`, `starting` or `down`: what the server itself answers, not whether a process id exists."""
    if not (cluster.data / "postmaster.pid").exists():
        return "down"
    asked = cluster.account.run(
        cluster.programs / "pg_isready", "-q", "-h", cluster.sockets, "-p", str(PORT), "-t", "3"
    )
    return {0: "ready", 1: "starting"}.get(asked.returncode, "down")


def _stop_if_last(cluster: Cluster, users: int) -> None:
    """Give up our share of `users.lock`; when nobody else has one, stop the server. Needs the start lock."""
    if not _flock(users, exclusive=True, wait=False):
        return
    if not (cluster.data / "postmaster.pid").exists():
        return
    _forget_dead_postmaster(cluster)  # pg_ctl would wait for a zombie
    # One that recovers from a crash is stopped as it is: a polite request would have PostgreSQL 18.4 wait for ever.
    said = ""
    for mode in ("fast", "immediate") if _readiness(cluster) == "ready" else ("immediate",):
        said = _pg_ctl(cluster, STOP_SECONDS, "stop", "-m", mode)
        if not said or _readiness(cluster) == "down":
            return
    log.warning("The embedded Postgres did not stop: %s", said)


def _is_stopping(cluster: Cluster) -> bool:
    """Whether the server was asked to stop, by the status that it keeps in its pid file's last line."""
    try:
        return (cluster.data / "postmaster.pid").read_text().split()[-1] == "stopping"
    except (FileNotFoundError, IndexError):
        return False


def _pg_ctl(cluster: Cluster, seconds: float, action: str, *options: str) -> str:
    """Run pg_ctl and wait for its effect; returns what it said if it failed, else nothing."""
    command = (cluster.programs / "pg_ctl", action, "-D", cluster.data, "-w", "-t", str(int(seconds)))
    done = cluster.account.run(*command, *options, timeout=seconds + 30)
    return done.stdout.strip() if done.returncode else ""


def _initialise(cluster: Cluster) -> None:
    """Make the data directory under another name, then rename it: a killed attempt leaves nothing half made."""
    for leftover in cluster.folder.glob(f"{cluster.data.name}.new-*"):
        shutil.rmtree(leftover)  # only a killed attempt leaves one: we hold the start lock
    said = ""
    for locale in LOCALES:
        new = cluster.folder / f"{cluster.data.name}.new-{os.getpid()}"
        made = cluster.account.run(
            *(cluster.programs / "initdb", "-D", new, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"),
            *("--locale=C", f"--lc-ctype={locale}", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        if made.returncode == 0:
            with (new / "postgresql.conf").open("a") as configuration:
                configuration.write("\ninclude 'book_search.conf'\n")
            new.rename(cluster.data)
            return
        said = made.stdout.strip()
        shutil.rmtree(new, ignore_errors=True)
    raise EmbeddedServerError(f"initdb cannot make a database in {cluster.folder}: {said}")


def _configure(cluster: Cluster) -> None:
    """Write the server's settings for this machine; read at its next start."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": '"' + str(cluster.sockets).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "shared_preload_libraries": "vector",
        "dynamic_shared_memory_type": "mmap",  # /dev/shm is 64 MB in a container, too little for a parallel build
        "shared_buffers": f"{min(max(memory // 8, 64), 2048)}MB",
        "maintenance_work_mem": "64MB",  # an index build asks for its own
        "max_parallel_maintenance_workers": min(max((os.cpu_count() or 1) - 1, 1), 7),
        "jit": "off",  # the builds have none, and a search of milliseconds would lose by it
        "max_connections": 60,
        "wal_level": "minimal",  # nobody replicates an index that can be rebuilt
        "max_wal_senders": 0,
        "max_wal_size": "2GB",
        "random_page_cost": 1.1,  # it lies on an SSD or in memory
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
    }
    lines = [f"{name} = '" + str(value).replace("'", "''") + "'\n" for name, value in settings.items()]
    target = cluster.data / "book_search.conf"
    target.write_text("".join(lines))
    target.chmod(0o644)
    if cluster.log_file.exists() and cluster.log_file.stat().st_size > LOG_BYTES:
        cluster.log_file.replace(cluster.log_file.with_suffix(".log.1"))


def _forget_dead_postmaster(cluster: Cluster) -> None:
    """Put an unused process id into the pid file of a server that is dead while its id looks alive.

    Postgres itself passes over a pid file whose process is gone. It cannot start where the id lives on: as a
    zombie (in a container whose first process does not reap), or as another program after a restart of the
    container. Only the id is changed: the shared memory's key below it still keeps a second server away from
    backends that have not ended yet.
    """
    pid_file = cluster.data / "postmaster.pid"
    try:
        first, rest = pid_file.read_text().split("\n", 1)
        process = Path(f"/proc/{int(first)}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return
    name, state = re.fullmatch(r"\d+ \((.*)\) (\S).*", process, re.DOTALL).groups()  # type: ignore[union-attr]
    if state == "Z" or name != "postgres":
        pid_file.write_text(f"{2**22 + 1}\n{rest}")  # above Linux' PID_MAX_LIMIT, so no process has it


def _make_database(cluster: Cluster) -> None:
    """Make our database where it is missing, closed to roles that were granted nothing."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True, connect_timeout=CONNECT_SECONDS) as conn:
        if conn.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            conn.execute(f"CREATE DATABASE {DATABASE}")
            conn.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
            with psycopg.connect(
                cluster.dsn(DATABASE), autocommit=True, connect_timeout=CONNECT_SECONDS
            ) as ours:  # large objects are everybody's to make
                ours.execute("REVOKE EXECUTE ON FUNCTION lo_creat, lo_create, lo_from_bytea FROM PUBLIC")


def _last_words(cluster: Cluster) -> str:
    """The end of the server's log, for an error message."""
    if not cluster.log_file.exists():
        return ""
    return "\n" + cluster.log_file.read_text(errors="replace")[-1500:]
