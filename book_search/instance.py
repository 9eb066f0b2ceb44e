"""Dagster's own settings for a laptop: what `book-search run` and the demo keep their runs in, and its UI shows.

`infra/dagster.yaml` is the one for a server.
"""

from pathlib import Path

LAPTOP = """\
# Written by book-search. Point DAGSTER_HOME at this folder to see its runs in `dagster dev`.
telemetry: {enabled: false}
nux: {enabled: false}
python_logs:
  managed_python_loggers: [book_search]
  python_log_level: INFO
concurrency:
  runs: {max_concurrent_runs: 2}
  # One step at a time asks a host, computes embeddings, writes to the database.
  pools: {default_limit: 1, granularity: op}
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""


def prepare_dagster_home(folder: Path) -> None:
    """Make the folder, with settings where it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(LAPTOP)
