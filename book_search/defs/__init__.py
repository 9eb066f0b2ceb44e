"""Dagster's part: thin wrappers around the library, one file a concept. Only this and `definitions` import Dagster."""

import warnings

import dagster as dg

# Backfill policies are still marked beta; the design rests on them, and a warning an asset a process helps nobody.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
