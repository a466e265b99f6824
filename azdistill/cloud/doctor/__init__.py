"""What would stand in the way of a run, found before it costs anything: this machine, the workspace, the compute."""
