"""Data sets: their one form in memory and on disk, how to get them, and how to read what others publish."""
