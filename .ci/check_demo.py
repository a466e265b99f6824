"""Fail when the demo's comparison does not hold what the README says of it."""

import json
import sys


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    teacher, baseline, distilled = (result[column]["accuracy"] for column in ("teacher", "baseline", "distilled"))
    claims = {
        "at least 200 test rows": result["rows"] >= 200,
        "the teacher is right on at least 90%": teacher >= 0.90,
        "the student as it was is far below": baseline < distilled / 2,
        "the distilled student keeps at least 92% of the teacher's accuracy": result["retention"] >= 0.92,
        "it beats the baseline at p < 0.05": result["p_value_distilled_vs_baseline"] < 0.05,
        "the student taught by gold is the same model, and is not tested against it": (
            ["distilled", "gold_sft"] in [group["columns"] for group in result["same_model"]]
            and not any(test["second"] == "gold_sft" for test in result["tests"])
        ),
        "it answers faster": result["latency_reduction"] > 0,
        "it is smaller": result["memory_reduction"] > 0,
    }
    for claim, holds in claims.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    sys.exit(0 if all(claims.values()) else 1)


main(sys.argv[1])
