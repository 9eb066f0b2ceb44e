"""The search index in Postgres with pgvector: its server, its schema, its rows, its HNSW graph."""
