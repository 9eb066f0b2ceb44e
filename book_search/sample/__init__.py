"""A small library that needs no network: drawn covers, dumps of them, a server that plays Open Library, a tiny CLIP."""
