"""The command line: `book-search`. Each command is one call of the library; what is heavy is imported when used."""

from book_search.cli.main import main

__all__ = ["main"]
