"""The search page and its JSON API, for readers and librarians: what a browser asks and is answered."""
