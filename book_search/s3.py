"""How the lake writes to an S3 API: by whom, and how what is written is encrypted there.

Knows buckets and keys; nothing of the lake's files. pyarrow reads (it streams columns, and DuckDB reads through it),
but it can neither ask for server-side encryption (its `default_metadata` knows Content-Type and the like alone, seen
in pyarrow 26) nor delete without leaving an empty object in the folder's name: both are done by boto3's client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

KMS = "aws:kms"
CONNECT_SECONDS = 10  # to reach the server, for one of the attempts
READ_SECONDS = 60  # without a byte, for one of the attempts
ATTEMPTS = 5

MakeClient = Callable[[str | None, str], Any]  # (endpoint, region) -> boto3's S3 client


@dataclass(frozen=True)
class Encryption:
    """How the server encrypts an object at rest.

    Attributes:
        algorithm: `AES256` (keys that S3 keeps), `aws:kms` (keys of KMS), or None: as the bucket's own default has it.
        key: of KMS, its id or ARN; None for the account's own `aws/s3`.
    """

    algorithm: str | None = "AES256"
    key: str | None = None

    @classmethod
    def parse(cls, said: str | None) -> "Encryption":
        """Of `AES256`, `aws:kms`, `aws:kms:KEY`, or nothing. Raises ValueError for anything else."""
        if not said:
            return cls(None)
        if said == "AES256" or said == KMS:
            return cls(said)
        if said.startswith(f"{KMS}:") and len(said) > len(KMS) + 1:
            return cls(KMS, said.removeprefix(f"{KMS}:"))
        raise ValueError(
            f"{said!r} is no encryption; write AES256, aws:kms, aws:kms:KEY, or nothing for the bucket's own"
        )

    def arguments(self) -> dict[str, str]:
        """What a request that writes says of it, by S3's names."""
        named = {"ServerSideEncryption": self.algorithm, "SSEKMSKeyId": self.key}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class S3Writer:
    """Puts whole objects and removes them; safe to use from many threads."""

    client: Any
    encryption: Encryption

    def put(self, local: Path, target: str) -> None:
        """The local file as the object `bucket/key`, complete or not at all. Raises OSError."""
        bucket, _, key = target.partition("/")
        self._do(target, "written", lambda: self.client.upload_file(
            str(local), bucket, key, ExtraArgs=self.encryption.arguments()
        ))  # fmt: skip

    def delete(self, target: str) -> None:
        """Remove the object `bucket/key`, if it is there. Raises OSError."""
        bucket, _, key = target.partition("/")
        self._do(target, "deleted", lambda: self.client.delete_object(Bucket=bucket, Key=key))

    @staticmethod
    def _do(target: str, done: str, work: Callable[[], object]) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            work()
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise OSError(f"s3://{target} cannot be {done}: {error}") from error


def s3_filesystem(endpoint: str | None) -> fs.S3FileSystem:
    """What reads; credentials and region come from the environment as Amazon's tools read them."""
    options: dict[str, object] = {"connect_timeout": CONNECT_SECONDS, "request_timeout": READ_SECONDS}
    if endpoint:
        scheme, _, place = endpoint.rpartition("://")
        options |= {"endpoint_override": place.rstrip("/"), "scheme": scheme or "https"}
    return fs.S3FileSystem(**options)


def boto_client(endpoint: str | None, region: str) -> Any:
    """boto3's client, bounded in what it waits for. Raises ModuleNotFoundError, which names what to install."""
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a lake on s3:// needs boto3: pip install 'book_search[s3]'") from error
    patience = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, config=patience)
