"""Files of the lake, on disk or S3: where each lies, how it is read, and how it is written whole or not at all.

Knows paths, bytes and Parquet; nothing of what the tables mean (their columns are in `schemas`).
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from book_search.s3 import Encryption, MakeClient, S3Writer, boto_client, s3_filesystem

PARTIAL = ".partial-"  # the name of a file under way starts so; `names` never lists one


@dataclass(frozen=True)
class Lake:
    """A folder, or a bucket's prefix, that holds every file the road writes. Paths in it are relative, with `/`.

    Attributes:
        writer: what writes to a bucket and removes from it; None on disk.
    """

    filesystem: fs.FileSystem
    root: str
    work: Path
    writer: S3Writer | None = None

    def exists(self, path: str) -> bool:
        """Whether a whole file lies at `path`."""
        return bool(self.filesystem.get_file_info(self._full(path)).type == fs.FileType.File)

    def size(self, path: str) -> int:
        """Bytes of the file at `path`. Raises FileNotFoundError where there is none."""
        info = self.filesystem.get_file_info(self._full(path))
        if info.type != fs.FileType.File:
            raise FileNotFoundError(self.uri(path))
        return int(info.size)

    def names(self, folder: str) -> list[str]:
        """The paths of the files right under `folder`, sorted; none where there is no such folder."""
        selector = fs.FileSelector(self._full(folder), recursive=False, allow_not_found=True)
        found = (info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File)
        return sorted(f"{folder}/{info.base_name}" for info in found if not info.base_name.startswith(PARTIAL))

    def folders(self, folder: str) -> list[str]:
        """The paths of the folders right under `folder`, sorted; none where there is no such folder."""
        selector = fs.FileSelector(self._full(folder), recursive=False, allow_not_found=True)
        found = (info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory)
        return sorted(f"{folder}/{info.base_name}" for info in found)

    def stamps(self, folder: str) -> list[tuple[str, int, int]]:
        """Of the files right under `folder`, by name: the name, the bytes, and when it was put there, in ns."""
        selector = fs.FileSelector(self._full(folder), recursive=False, allow_not_found=True)
        found = (info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File)
        return sorted(
            (info.base_name, info.size, info.mtime_ns or 0) for info in found if not info.base_name.startswith(PARTIAL)
        )

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a small file. Raises FileNotFoundError."""
        with self.filesystem.open_input_stream(self._full(path), compression=None) as stream:
            return bytes(stream.read())

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """The Parquet file at `path`, or some of its columns. Raises FileNotFoundError."""
        return pq.read_table(self._full(path), columns=columns, filesystem=self.filesystem, partitioning=None)

    def parquet(self, path: str) -> pq.ParquetFile:
        """The Parquet file at `path`, opened for reading it in batches; a context manager."""
        return pq.ParquetFile(self.filesystem.open_input_file(self._full(path)))

    def write_bytes(self, path: str, content: bytes) -> None:
        """Put `content` at `path`; readers see the old file or the new one, never a part."""
        with self.writing(path) as local:
            local.write_bytes(content)

    def write_table(self, path: str, table: pa.Table, row_group_size: int | None = None) -> None:
        """Put `table` at `path` as zstd Parquet; readers see the old file or the new one, never a part.

        Vectors are left as they are: zstd saves a twelfth of them, and reading them takes half as long again.
        """
        with self.writing(path) as local:
            pq.write_table(
                table,
                local,
                compression=_compression(table.schema),
                row_group_size=row_group_size,
                use_dictionary=_repetitive(table.schema),
            )

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """A local path to write to; when the block ends without an error the file appears at `path`, whole."""
        local = self._partial(path)
        try:
            yield local
            with local.open("rb+") as written:
                os.fsync(written.fileno())
            self._publish(local, path)
        finally:
            local.unlink(missing_ok=True)

    def publish(self, local: Path, path: str) -> None:
        """Move a finished local file of the work folder to `path`."""
        if not self.is_local:
            self._publish(local, path)  # a failed upload leaves the finished file for the next try
            local.unlink()
            return
        target = Path(self._full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if local.stat().st_dev == target.parent.stat().st_dev:
            local.replace(target)
            return
        with self.writing(path) as partial:
            shutil.copyfile(local, partial)
        local.unlink()

    def delete(self, path: str) -> None:
        """Remove the file at `path`, if it is there."""
        if self.writer is not None:
            self.writer.delete(self._full(path))
        elif self.exists(path):
            with suppress(FileNotFoundError):  # another process has just done it
                self.filesystem.delete_file(self._full(path))

    def sweep(self, prefix: str) -> None:
        """Remove what killed writers of the paths that start with `prefix` left. For who knows that none is at work."""
        folder, name = self._partial(f"{prefix}x").parent, prefix.rpartition("/")[2]
        skipped = len(PARTIAL) + len(uuid.uuid4().hex) + 1
        for leftover in folder.glob(f"{PARTIAL}*"):
            if leftover.name[skipped:].startswith(name):
                leftover.unlink(missing_ok=True)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """The file at `path` as a local one: itself on disk, a copy for the length of the block from S3."""
        if self.is_local:
            yield Path(self._full(path))
            return
        copy = self._partial(path)
        try:
            fs.copy_files(
                self._full(path),
                str(copy),
                source_filesystem=self.filesystem,
                destination_filesystem=fs.LocalFileSystem(),
            )
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def uri(self, path: str) -> str:
        """The address of `path` as a person or another tool would write it."""
        return self._full(path) if self.is_local else f"s3://{self._full(path)}"

    @property
    def is_local(self) -> bool:
        """Whether the lake lies on this machine's disk."""
        return self.writer is None

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _partial(self, path: str) -> Path:
        """A new local name: beside its target on disk, so that a rename publishes it; under the work folder for S3."""
        folder = Path(self._full(path) if self.is_local else self.work / path).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{PARTIAL}{uuid.uuid4().hex}-{Path(path).name}"

    def _publish(self, local: Path, path: str) -> None:
        if self.writer is not None:
            # S3 shows an object only once it is complete. Sending a finished local file is what keeps a failing
            # writer from completing it: pyarrow's streams cannot be aborted (apache/arrow issue 40502).
            self.writer.put(local, self._full(path))
            return
        os.replace(local, self._full(path))
        _sync_folder(Path(self._full(path)).parent)


def _sync_folder(folder: Path) -> None:
    """Have the disk know a rename before anything that follows from it, such as the removal of what was merged."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def open_lake(
    home: str,
    work: Path | None = None,
    s3_endpoint: str | None = None,
    s3_encryption: str | None = "AES256",
    make_client: MakeClient = boto_client,
) -> Lake:
    """The lake at `home`: a folder, made where it is missing, or `s3://bucket/prefix`.

    Args:
        home: a path, or an S3 address. Credentials and region come from the environment as Amazon's tools read them.
        work: a local folder for files under way; default `home` itself, or a temporary folder for S3.
        s3_endpoint: the address of an S3 API other than Amazon's.
        s3_encryption: what every object is written with, see `Encryption.parse`.
        make_client: gives boto3's client for an endpoint and a region.

    Raises:
        ValueError: `home` is an address of another kind than s3, or `s3_encryption` is none.
        ModuleNotFoundError: `home` is on S3, and boto3 is not installed.
    """
    parts = urlsplit(home)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise ValueError(f"BOOK_SEARCH_HOME={home} names no bucket; write s3://bucket/prefix")
        filesystem = s3_filesystem(s3_endpoint)
        writer = S3Writer(make_client(s3_endpoint, filesystem.region), Encryption.parse(s3_encryption))
        root = f"{parts.netloc}{parts.path}".rstrip("/")
        return Lake(filesystem, root, work or Path(tempfile.gettempdir()) / "book_search", writer)
    if "://" in home:
        raise ValueError(f"BOOK_SEARCH_HOME={home} is neither a folder nor s3://bucket/prefix")
    folder = Path(home).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return Lake(fs.LocalFileSystem(), str(folder), work or folder)


def _compression(schema: pa.Schema) -> str | dict[str, str]:
    plain = _repetitive(schema)
    return "zstd" if isinstance(plain, bool) else dict.fromkeys(plain, "zstd")  # a column not named is left as it is


def _repetitive(schema: pa.Schema) -> bool | list[str]:
    """What a dictionary is worth trying for: not the numbers of vectors, which it makes four times as slow to read."""
    if not any(pa.types.is_fixed_size_list(field.type) for field in schema):
        return True
    return [field.name for field in schema if not pa.types.is_nested(field.type)]
