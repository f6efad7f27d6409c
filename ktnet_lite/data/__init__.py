"""Data sets: one form in memory, one file format on disk, how to get them, and readers of published files."""
