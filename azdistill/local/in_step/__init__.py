"""Plain scripts that run inside a step, beside its code: they know the standard library alone."""
