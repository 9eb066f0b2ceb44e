"""The command `book-search serve`: what it prints, what it refuses, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from book_search.cli.serve import serve
from book_search_tests.web.conftest import Browser

PROGRAM = "from book_search.cli.serve import serve; serve()"


def test_the_server_prints_its_address_and_ends_in_order(planted_dsn: str, tmp_path: Path) -> None:
    environment = os.environ | {"BOOK_SEARCH_HOME": str(tmp_path), "BOOK_SEARCH_DATABASE_URL": planted_dsn}
    command = [sys.executable, "-u", "-c", PROGRAM, "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert address is not None
            answer = Browser(int(address[1])).get("/api/similar/OL7M", limit="2")
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(30)

    assert len(answer.keys) == 2
    assert ended == 128 + signal.SIGTERM, "it unwound what was open, and was not killed"


def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(serve, ["--port", str(taken.getsockname()[1])])

    assert result.exit_code == 1
    assert "(Address already in use); --host and --port say where" in result.output


def test_without_the_packages_of_the_page_the_way_to_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    result = CliRunner().invoke(serve, [])

    assert result.exit_code == 1
    assert "pip install 'book_search[web]'" in result.output
