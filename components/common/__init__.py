"""What every component shares: rows, tasks, progress, tracking, secrets, and how a step ends."""
