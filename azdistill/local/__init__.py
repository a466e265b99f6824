"""Local runs: plan, cache, store, scheduler and the runners that start a step's command."""
