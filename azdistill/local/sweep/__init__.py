"""Sweep steps run here: trials, each an attempt of its own, drawn with Optuna; the best gives the step's outputs."""
