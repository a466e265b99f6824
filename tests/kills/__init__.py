"""A run that is killed at a known moment, and what must hold afterwards; for processes and for containers."""
