"""The sandbox is a folder of scripts, not a package: its modules are imported as its scripts import them."""

import sys
from pathlib import Path

SANDBOX = Path(__file__).parents[2] / "examples" / "sandbox"
sys.path.insert(0, str(SANDBOX))
