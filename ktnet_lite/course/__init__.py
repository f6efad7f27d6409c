"""Figures and widgets of the course, one module per chapter."""
