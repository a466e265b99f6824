"""How many lines a file has, and the hash of them."""

import hashlib
import json
import sys

with open(sys.argv[1], "rb") as rows:
    lines = rows.read().splitlines()
with open(sys.argv[2], "w", encoding="utf-8") as counted:
    json.dump({"rows": len(lines), "sha256": hashlib.sha256(b"\n".join(lines)).hexdigest()}, counted)
print(f"{len(lines)} rows")
