"""Figures and widgets of the course, one module per chapter, and the published results that chapters show."""
