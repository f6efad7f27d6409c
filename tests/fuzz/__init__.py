"""Mutants of valid files, and what the package does with them: `python -m fuzz --help`, in tests/."""
