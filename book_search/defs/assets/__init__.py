"""The assets of the road, one file a group: open_library, catalogue, covers, search, evaluation."""
