"""Search books by their covers: Open Library dumps, CLIP and pgvector, run by Dagster."""

__version__ = "0.1.0"
