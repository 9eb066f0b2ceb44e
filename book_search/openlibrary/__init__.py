"""What we know of Open Library: its dumps, which editions become books, its covers, and how to ask it politely."""
