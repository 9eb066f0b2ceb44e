"""Fixtures that several folders of tests share."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from book_search.lake import Lake, open_lake

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the real data of ../shared is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _own_pace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of hosts lies with the tests, not with the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_SEARCH_PACE_FOLDER", str(tmp_path_factory.mktemp("pace")))
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake on disk."""
    return open_lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a real S3 API on this machine."""
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """An empty lake on disk, and one on S3."""
    if request.param == "disk":
        return open_lake(str(tmp_path / "lake"))
    endpoint = request.getfixturevalue("s3_endpoint")
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    import boto3

    bucket = f"lake-{abs(hash(str(tmp_path)))}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return open_lake(f"s3://{bucket}/some/prefix", tmp_path / "work", endpoint)
