"""Schedules of a workspace: made from files, compared, shown, and changed."""
