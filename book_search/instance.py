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
  # One step at a time asks a host, computes embeddings, writes to the database. Another number for one of the pools
  # covers_host, open_library, embedding, postgres: dagster instance concurrency set embedding 2
  pools: {default_limit: 1, granularity: op}
# What a `dagster dev` that was killed leaves STARTED, with its pools' slots, is ended by the next one after two days.
run_monitoring:
  enabled: true
  start_timeout_seconds: 600
  cancel_timeout_seconds: 180
  max_runtime_seconds: 172800
  free_slots_after_run_end_seconds: 60
# A run whose process was killed is run again; an asset that failed is not: it has its own retries.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


def prepare_dagster_home(folder: Path) -> None:
    """Make the folder, with settings where it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(LAPTOP)
