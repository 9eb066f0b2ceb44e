"""Settings: from the environment, typed, and silent about secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from book_search.settings import OPENAI_CLIP_REVISION, Settings, load_settings


def test_the_defaults_are_the_books_that_the_readme_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert (settings.languages, settings.subject, settings.pages_over, settings.years) == (("eng",), "fiction", 100, 10)
    assert settings.model_revision == OPENAI_CLIP_REVISION


def test_a_variable_sets_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_LANGUAGES", "fre, ger")
    monkeypatch.setenv("BOOK_SEARCH_YEARS", "3")
    assert load_settings().languages == ("fre", "ger")
    assert load_settings().years == 3


def test_an_empty_variable_means_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_SUBJECT", "")
    monkeypatch.setenv("BOOK_SEARCH_YEARS", "")
    monkeypatch.setenv("BOOK_SEARCH_LANGUAGES", "")
    assert load_settings().subject is None
    assert load_settings().years is None
    assert load_settings().languages == ()


def test_an_empty_variable_means_the_default_where_there_is_no_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", "")
    monkeypatch.setenv("BOOK_SEARCH_REQUESTS_PER_MINUTE", "")
    assert load_settings().home == ".book_search"
    assert load_settings().requests_per_minute == 100


def test_a_wrong_value_is_told_with_the_name_of_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_REQUESTS_PER_MINUTE", "fast")
    with pytest.raises(ValidationError, match="requests_per_minute"):
        load_settings()


def test_the_database_password_is_not_printed() -> None:
    settings = load_settings(database_url="postgresql://me:hunter2@example.org/books")
    assert settings.dsn == "postgresql://me:hunter2@example.org/books"
    assert "hunter2" not in f"{settings!r} {settings}"


def test_another_model_is_loaded_from_its_main_branch() -> None:
    assert load_settings(model="openai/clip-vit-large-patch14").model_revision == "main"


def test_a_lake_on_s3_works_in_a_local_folder() -> None:
    assert load_settings(home="s3://bucket/prefix").work_folder.is_absolute()
    assert load_settings(home="somewhere").work_folder == Path("somewhere").resolve()


def test_every_setting_is_described_for_the_readme() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_processes_agree_on_turns_in_one_folder_a_user_wherever_their_lakes_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BOOK_SEARCH_PACE_FOLDER")
    assert load_settings(home="s3://bucket/prefix").pace_path == load_settings(home="somewhere").pace_path
    assert load_settings().pace_path.is_relative_to(Path.home())
    assert load_settings(pace_folder="here").pace_path == Path("here").resolve()


def test_hours_that_are_none_are_told_with_the_name_of_their_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", "at night")
    with pytest.raises(ValidationError, match="off_peak"):
        load_settings()
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", "")
    monkeypatch.setenv("BOOK_SEARCH_BATCH_HOURS", "")
    assert (load_settings().off_peak, load_settings().batch_hours) == (None, None)
