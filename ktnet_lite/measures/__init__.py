"""Metrics by the field's definitions, and how sure they are."""
