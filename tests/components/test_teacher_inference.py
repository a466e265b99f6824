from conftest import chat, write_jsonl


def sums(count):
    return [chat(f"What is {n} plus {n + 1}?", str(2 * n + 1)) for n in range(count)]


def solve(messages):
    words = messages[-1]["content"].rstrip("?").split()
    return str(int(words[2]) + int(words[4]))


def test_every_row_is_answered_in_its_order_though_the_teacher_fails_now_and_then(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(120))
    loop = teacher(solve, faults=0.2, seed=7)
    result = component("teacher_inference").run(
        {"rows": rows, "task_type": "math", "teacher_model": "loop", "teacher_endpoint": loop.url}
    )
    assert result.returncode == 0, result.stderr
    kept = result.rows("train")
    assert [row["response"] for row in kept] == [row["reference"] for row in kept]
    assert len(kept) == 120
    assert set(loop.failed) == {"none", "429", "503", "cut", "malformed"}
    assert max(loop.answered.values()) == 1
    print(result.stderr)
