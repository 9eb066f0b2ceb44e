"""How good the answers are: recall of the index, known items, covers that find themselves."""
