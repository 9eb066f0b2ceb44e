"""Asking for books by their covers: what can be asked, how it is answered, and what an answer holds."""
