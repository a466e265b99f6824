"""What starts a step's command: a process of its own here, a container later."""
