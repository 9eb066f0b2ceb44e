"""What is written to S3 says how it is to be encrypted, and an S3 that refuses is told in a sentence."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from book_search.lake import open_lake
from book_search.s3 import Encryption

HIDDEN = "a-key-that-nobody-may-see"


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client, after a bucket `encrypted` was made."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": HIDDEN,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="encrypted")
    return client


def test_an_object_is_encrypted_as_the_setting_says(bucket: Any, s3_endpoint: str, tmp_path: Path) -> None:
    said = {}
    for number, setting in enumerate(["AES256", "aws:kms", "aws:kms:alias/books", ""]):
        lake = open_lake("s3://encrypted/home", tmp_path, s3_endpoint, setting)
        lake.write_bytes(f"{number}.bin", b"content")
        head = bucket.head_object(Bucket="encrypted", Key=f"home/{number}.bin")
        said[setting] = (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId"))

    assert said["AES256"] == ("AES256", None)
    assert said["aws:kms"][0] == "aws:kms"
    assert said["aws:kms:alias/books"] == ("aws:kms", "alias/books")
    assert said[""] == (None, None)


@pytest.mark.parametrize("wrong", ["yes", "aws:kms:", "aes256"])
def test_another_word_for_encryption_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="write AES256, aws:kms"):
        Encryption.parse(wrong)


def test_a_deleted_file_leaves_nothing_behind(bucket: Any, s3_endpoint: str, tmp_path: Path) -> None:
    lake = open_lake("s3://encrypted/other", tmp_path, s3_endpoint)
    lake.write_bytes("folder/file.bin", b"content")

    lake.delete("folder/file.bin")
    lake.delete("folder/never-there.bin")

    assert "Contents" not in bucket.list_objects_v2(Bucket="encrypted", Prefix="other")


def test_a_bucket_that_is_not_there_is_told_by_its_address(bucket: Any, s3_endpoint: str, tmp_path: Path) -> None:
    lake = open_lake("s3://no-such-bucket/home", tmp_path, s3_endpoint)

    with pytest.raises(
        OSError, match=r"s3://no-such-bucket/home/file\.bin cannot be written: .*NoSuchBucket"
    ) as caught:
        lake.write_bytes("file.bin", b"content")

    assert HIDDEN not in str(caught.value)
