"""Plain scripts that run inside a step, beside its code: they import nothing of azdistill, only the standard library."""
