"""Whether this machine can hold a teacher, asked before hours are spent on downloading and loading it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from common.step import BadConfig

GB = 1e9


def gpu_memory() -> list[float]:
    """Bytes of each GPU that this process may use; empty where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = (
        None if visible is None else [word.strip() for word in visible.split(",") if word.strip() not in ("", "-1")]
    )
    if chosen == [] or shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    rows = [[word.strip() for word in line.split(",")] for line in listed if line.count(",") == 2]
    usable = [row for row in rows if chosen is None or row[0] in chosen or any(row[1].startswith(w) for w in chosen)]
    return [float(row[2]) * 2**20 for row in usable]


def require_memory(weights: int, what: str) -> None:
    """Raises BadConfig where ``weights`` bytes are more than all GPUs, or without any the machine, can hold."""
    gpus = gpu_memory()
    room = sum(gpus) if gpus else float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if weights > room:
        where = f"its {len(gpus)} GPUs" if gpus else "its memory (it has no GPU)"
        raise BadConfig(
            f"the weights of {what} take {weights / GB:.0f} GB, and this machine has {room / GB:.0f} GB in {where}: "
            "give the step a larger machine (compute.teacher), or ask the teacher at an endpoint (teacher.endpoint)"
        )


def require_disk(weights: int, what: str, folder: Path) -> None:
    """Raises BadConfig where ``weights`` bytes do not fit on the disk that ``folder`` will lie on."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if weights > free:
        raise BadConfig(
            f"the weights of {what} take {weights / GB:.0f} GB, and {folder} has {free / GB:.0f} GB left; "
            "HF_HOME moves where they are kept"
        )


def size_of(folder: Path) -> int:
    """Bytes of the weights in a model folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
