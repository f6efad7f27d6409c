"""Figures and widgets of the course, one module per chapter, checks of exercises, and published results."""
