"""The embedded server lives exactly as long as somebody needs it, whatever happens to them."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from book_search.index import binaries
from book_search.index.binaries import MAJOR, server_account
from book_search.index.server import EmbeddedServerError, embedded_server, postgres_binary
from book_search.index.server import _cluster as cluster_of

OPEN = """
import sys, time
from pathlib import Path
import psycopg
from book_search.index.server import embedded_server
with embedded_server(Path(sys.argv[1])) as dsn, psycopg.connect(dsn) as conn:
    assert conn.execute("SELECT 1").fetchone() == (1,)
    print("open", flush=True)
    {then}
"""


@pytest.fixture(scope="module")
def made(open_folder: Path) -> Path:
    """A folder whose server was made, and stopped."""
    with embedded_server(open_folder / "made"):
        pass
    return open_folder / "made"


@pytest.fixture
def new_home(open_folder: Path) -> Iterator[Path]:
    """A folder in which no server was made yet."""
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(new_home: Path, made: Path) -> Path:
    """A folder with a server of its own, stopped."""
    subprocess.run(["cp", "-a", made / "postgres", new_home], check=True)
    return new_home


def test_data_stay_from_one_opening_to_the_next(home: Path) -> None:
    with embedded_server(home) as dsn:
        _run(dsn, "CREATE TABLE kept AS SELECT 7 AS n")

    with embedded_server(home) as dsn:
        rows = _run(dsn, "SELECT n FROM kept")

    assert rows == [(7,)]


def test_the_last_of_several_users_stops_the_server(home: Path) -> None:
    with embedded_server(home) as first:
        with embedded_server(home) as second:
            assert first == second
        assert _run(first, "SELECT 1") == [(1,)]

    assert not _pid_file(home).exists()
    with pytest.raises(psycopg.OperationalError):
        _run(first, "SELECT 1")


def test_a_killed_server_is_reopened_at_once_with_its_data(home: Path) -> None:
    with embedded_server(home) as dsn:
        _run(dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(_pid(home), signal.SIGKILL)

    with embedded_server(home) as dsn:
        rows = _run(dsn, "SELECT n FROM kept")

    assert rows == [(7,)]


def test_a_killed_server_is_reopened_though_another_program_has_its_process_id(home: Path) -> None:
    account = server_account()
    identity = {"user": account.uid, "group": account.gid} if account.switch else {}
    with embedded_server(home), subprocess.Popen(["sleep", "60"], **identity) as other:  # type: ignore[call-overload]
        os.kill(_pid(home), signal.SIGKILL)
        _, rest = _pid_file(home).read_text().split("\n", 1)
        _pid_file(home).write_text(f"{other.pid}\n{rest}")
        try:
            with embedded_server(home) as dsn:
                assert _run(dsn, "SELECT 1") == [(1,)]
            assert other.poll() is None
        finally:
            other.kill()


def test_a_server_that_is_left_while_it_recovers_stops_and_is_opened_again(home: Path) -> None:
    """Asked politely just then, PostgreSQL 18.4 waits for ever, and answers nobody."""
    for wait in (0.0, 0.1, 0.2):
        with embedded_server(home) as dsn:
            assert _run(dsn, "SELECT 1") == [(1,)]
            server = _pid(home)
            child = int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0])
            os.kill(child, signal.SIGKILL)
            time.sleep(wait)
        assert not _pid_file(home).exists()


def test_a_killed_client_does_not_keep_the_server(home: Path) -> None:
    client = _client(home, "time.sleep(60)")
    client.kill()
    client.wait()

    with embedded_server(home) as dsn:
        _run(dsn, "SELECT 1")

    assert not _pid_file(home).exists()


def test_processes_that_race_on_a_new_folder_share_one_server(new_home: Path) -> None:
    racers = [_client(new_home, "time.sleep(0.2)", wait=False) for _ in range(3)]

    outcomes = [(racer.wait(timeout=60), racer.communicate()[0]) for racer in racers]

    assert outcomes == [(0, "open\n")] * 3
    assert not _pid_file(new_home).exists()


def test_ctrl_c_leaves_the_server_up_until_its_user_is_done(home: Path) -> None:
    client = _client(
        home,
        """try:
        print("waiting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print(conn.execute("SELECT 2").fetchone(), flush=True)""",
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "waiting\n"

    os.killpg(client.pid, signal.SIGINT)
    said, _ = client.communicate(timeout=30)

    assert said == "(2,)\n"
    assert not _pid_file(home).exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_a_server_started_by_a_process_deaf_to_sigterm_still_hears_it(home: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    client = _client(home, "sys.stdin.read()", before=deaf)

    status = Path(f"/proc/{_pid(home)}/status").read_text()
    client.communicate()

    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert not ignored >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("name", ["with a space, a comma and a 'quote'", "/".join(["a long way down"] * 8)])
def test_any_folder_will_do(new_home: Path, name: str) -> None:
    with embedded_server(new_home / name) as dsn:
        assert _run(dsn, "SELECT 1") == [(1,)]
        sockets = cluster_of(new_home / name).sockets
    if not sockets.is_relative_to(new_home):
        shutil.rmtree(sockets)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_closed_folder_of_root_is_left_closed(new_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    new_home.chmod(0o700)

    with caplog.at_level(logging.INFO), embedded_server(new_home / "inside") as dsn:
        rows = _run(dsn, "SELECT 1")

    folder = cluster_of(new_home / "inside").folder
    assert rows == [(1,)]
    assert new_home.stat().st_mode & 0o777 == 0o700
    assert str(folder) in caplog.text
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_programs_in_a_closed_environment_are_copied_for_the_servers_account(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = postgres_binary("postgres").parents[3]
    for part in (binaries.PROGRAMS, binaries.LIBRARIES):
        shutil.copytree(site / part, tmp_path / part, symlinks=True)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(binaries, "_site", lambda: tmp_path)

    with embedded_server(home) as dsn:
        rows = _run(dsn, "SELECT 1")
        programs = cluster_of(home).programs

    assert rows == [(1,)]
    assert programs.is_relative_to(home)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_server_that_cannot_start_tells_its_own_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("book_search.index.server.START_SECONDS", 1.0)
    with embedded_server(home):
        pass
    (home / "postgres" / f"data-{MAJOR}" / "global" / "pg_control").unlink()

    with pytest.raises(EmbeddedServerError, match=r"pg_control"), embedded_server(home):
        pass


def test_the_server_listens_on_no_network(home: Path) -> None:
    with embedded_server(home) as dsn:
        assert _run(dsn, "SHOW listen_addresses") == [("",)]


def test_a_program_that_is_not_shipped_is_named() -> None:
    assert postgres_binary("psql").is_file()
    with pytest.raises(EmbeddedServerError, match="no_such_program"):
        postgres_binary("no_such_program")


def _run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if statement.startswith(("SELECT", "SHOW")) else []


def _pid_file(home: Path) -> Path:
    return home / "postgres" / f"data-{MAJOR}" / "postmaster.pid"


def _pid(home: Path) -> int:
    return int(_pid_file(home).read_text().split()[0])


def _client(home: Path, then: str, *, before: str = "", wait: bool = True) -> subprocess.Popen[str]:
    """A process of its own that holds the server open and then does something."""
    client = subprocess.Popen(
        [sys.executable, "-c", before + OPEN.format(then=then), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if wait:
        assert client.stdout is not None
        assert client.stdout.readline() == "open\n"
    return client
