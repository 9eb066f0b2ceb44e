"""Every setting of book_search, typed and documented in one place; nothing else reads the environment.

Library functions take what they need as arguments: only the edges (Dagster's resources, the command line,
the web page) call `load_settings`.
"""

import re
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

OPENAI_CLIP = "openai/clip-vit-base-patch32"
# The hub's own conversion of that model's weights to safetensors: its main branch holds pickled weights alone.
OPENAI_CLIP_REVISION = "c237dc49a33fc61debc9276459120b7eac67e7ef"
OPEN_LIBRARY_URL = "https://openlibrary.org"
COVERS_URL = "https://covers.openlibrary.org"
ARCHIVE_URL = "https://archive.org"
WEB_ADDRESSES = ("open_library_url", "covers_url", "archive_url", "covers_metadata", "s3_endpoint", "dagster_url")
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class Settings(BaseSettings):
    """What a user may set, each as `BOOK_SEARCH_<NAME>` in the environment."""

    # What was set is not told in an error: it may be a secret, and errors are kept by Dagster.
    model_config = SettingsConfigDict(env_prefix="BOOK_SEARCH_", extra="ignore", frozen=True, hide_input_in_errors=True)

    home: str = Field(".book_search", description="Where the lake lies: a folder, or s3://bucket/prefix.")
    work: str | None = Field(
        None,
        description="A local folder for scratch files. Default: HOME itself, or the user's cache folder for s3://.",
    )
    s3_endpoint: str | None = Field(None, description="An S3 API other than Amazon's, such as a local one.")
    s3_encryption: str | None = Field(
        "AES256",
        description="How S3 encrypts what is written: AES256, aws:kms, aws:kms:KEY; empty: as the bucket has it.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://... with pgvector 0.8.4 or newer. Absent: the embedded server under HOME.",
    )
    model: str = Field(OPENAI_CLIP, description="A CLIP model: a name on the Hugging Face hub, or a folder.")
    revision: str | None = Field(
        None,
        description="The model's revision on the hub. Default: a pinned one for the default model, else main.",
    )
    device: str = Field("auto", description="cpu, cuda, mps, or auto: the best that is present.")
    engine: Literal["auto", "transformers", "fp32", "bf16"] = Field(
        "auto",
        description="How pictures are encoded: bf16 or fp32 with packed weights, transformers, or auto: the best here.",
    )
    crop: Literal["as-trained", "pad", "two-crops"] = Field(
        "as-trained",
        description="How tall covers are shown: CLIP's centre crop, padded to a square, or the mean of two crops.",
    )
    facets: str | None = Field(
        None, description="A TOML file of what is asked of every cover, instead of the package's clip/facets.toml."
    )
    open_library_url: str = Field(OPEN_LIBRARY_URL, description="Serves /data/ol_dump_*_latest.txt.gz.")
    covers_url: str = Field(COVERS_URL, description="Serves /b/id/{cover_id}-{size}.jpg.")
    archive_url: str = Field(ARCHIVE_URL, description="Serves the dumps and the covers' zips that redirects lead to.")
    contact: str | None = Field(
        None,
        description="Your e-mail or web address, sent in the User-Agent. Needed before a real host is asked.",
    )
    cover_size: Literal["S", "M", "L"] = Field(
        "L", description="L is up to 500 x 500 pixels, M up to 180 x 360: less than the 224 that CLIP looks at."
    )
    requests_per_minute: float = Field(
        100, gt=0, description="Asked of one host at most; Open Library allows 400 a minute and address."
    )
    pace_folder: str | None = Field(
        None,
        description="A local folder where this machine's processes agree on turns. Default: the user's cache folder.",
    )
    off_peak: str | None = Field(
        None,
        description="Hours in which alone covers are asked for, such as 22:00-06:00. Empty: at any time.",
    )
    time_zone: str = Field("UTC", description="The time zone of OFF_PEAK, such as Europe/Berlin.")
    batch_hours: float | None = Field(
        6, gt=0, description="What asking for one batch's covers may take; the next run goes on. Empty: no end."
    )
    covers_road: Literal["auto", "by_id", "bulk_whole", "bulk_members"] = Field(
        "auto",
        description="How covers are had: one by one, from the archive's zips of 10,000, by their members, or as suits.",
    )
    bulk_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Zips are considered for a batch of 10,000 covers of which more than this is wanted.",
    )
    covers_metadata: str | None = Field(
        None,
        description="ol_dump_covers_metadata: a file, its address, or https://openlibrary.org. It spares requests.",
    )
    languages: Annotated[tuple[str, ...], NoDecode] = Field(
        ("eng",), description="MARC codes of the languages wanted, with commas between them; none for any language."
    )
    subject: str | None = Field("fiction", description="A subject each book must have; empty for any.")
    juvenile: bool = Field(False, description="Whether children's and juvenile books are wanted.")
    pages_over: int | None = Field(100, description="Books of more pages than this; empty for any.")
    years: int | None = Field(10, description="Published in this many years before the dump's date; empty for any.")
    cover_required: bool = Field(True, description="Whether books without a cover are left out.")
    deny_list: str | None = Field(
        None,
        description="Lists cover ids and editions that are left out, one a line. Default: HOME/deny.txt, if there.",
    )
    memory_limit: str = Field(
        "600MB",
        pattern=r"^[0-9]+(\.[0-9]+)? ?[KMGT]i?B$",
        description="What DuckDB may hold while books are chosen; the rest goes to disk, under WORK.",
    )
    recall_floor: float = Field(
        0.98, gt=0, le=1, description="What recall@10 an index must have, against exact search, before it is searched."
    )
    automation: bool = Field(
        False, description="on: all sensors and schedules run from the start. Each can be switched in the UI too."
    )
    webhook: SecretStr | None = Field(
        None, description="Is sent a JSON POST with the field text, as Slack takes it, when a run fails or is lost."
    )
    dagster_url: str | None = Field(
        None, description="Where people see Dagster's UI: what the webhook is sent links to the failed run there."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much the command line tells: DEBUG, INFO, WARNING, ERROR."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object, info: ValidationInfo) -> object:
        """An empty variable is how a shell or a compose file says "none", or the default where there is no none."""
        if value != "" or info.field_name is None:
            return value
        field = cls.model_fields[info.field_name]
        if info.field_name == "languages":
            return ()
        return None if NoneType in get_args(field.annotation) else field.default

    @field_validator("languages", mode="before")
    @classmethod
    def _codes(cls, value: object) -> object:
        return tuple(code.strip() for code in value.split(",") if code.strip()) if isinstance(value, str) else value

    @field_validator(*WEB_ADDRESSES)
    @classmethod
    def _holds_no_password(cls, value: str | None) -> str | None:
        """Where something was fetched from is told in the ledger, in metadata and in logs."""
        if value is not None and "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "an address with a user and a password in it would be told to everybody; leave out user:...@"
            )
        return value

    @field_validator("webhook")
    @classmethod
    def _is_a_web_address(cls, value: SecretStr | None) -> SecretStr | None:
        """Told when it is set: a failed run would come to nobody, and why must not name the address then."""
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("it is no web address; write one that begins with https://")
        return value

    @field_validator("off_peak")
    @classmethod
    def _has_hours(cls, value: str | None) -> str | None:
        if value is not None:
            start, _, end = (each.strip().zfill(len("00:00")) for each in value.partition("-"))
            if not (CLOCK.fullmatch(start) and (CLOCK.fullmatch(end) or end == "24:00")) or start == end:
                raise ValueError(f"{value!r} is no window of hours; write one such as 22:00-06:00, which ends by 24:00")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value.upper() != "UTC":
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"{value!r} is no time zone that this machine knows, as Europe/Berlin is") from error
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _level(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def dsn(self) -> str | None:
        """The database's URL in clear, for the driver alone; never for a log."""
        return self.database_url.get_secret_value() if self.database_url else None

    @property
    def model_revision(self) -> str:
        """The revision to load: as set, or the pinned one for the default model, else `main`."""
        if self.revision:
            return self.revision
        return OPENAI_CLIP_REVISION if self.model == OPENAI_CLIP else "main"

    @property
    def work_folder(self) -> Path:
        """The local scratch folder, for databases, downloads under way and files fetched from S3."""
        if self.work:
            return Path(self.work).resolve()
        if urlsplit(self.home).scheme == "s3":
            return Path.home() / ".cache" / "book_search"
        return Path(self.home).resolve()

    @property
    def pace_path(self) -> Path:
        """The folder of `SharedHostStates`: one a machine and user, not one a lake, since hosts count requests so."""
        return Path(self.pace_folder).resolve() if self.pace_folder else Path.home() / ".cache" / "book_search" / "pace"


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment, with `overrides` before them.

    Raises:
        pydantic.ValidationError: a variable holds what its type does not allow; the message names it.
    """
    return Settings(**overrides)  # type: ignore[arg-type]
