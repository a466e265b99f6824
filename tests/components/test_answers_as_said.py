"""What a teacher says is what a student learns: from the API's body to the training row, character by character."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from answer_extraction import Unparsable, unwrap
from chat_api import ChatApi
from common.rows import make_row
from common.tasks import get_task
from common.text import split_thoughts, visible
from prompting import BUILT_IN, Prompts
from snapshots import chat, write_jsonl
from test_teacher_inference import question

FREE = make_row([{"role": "user", "content": "Say it."}])
REGEX = "Use this regex: re.sub(r'<think>.*?</think>', '', text)"
#: What answers about markup, prompts and code are made of.
PIECES = (
    *("<think>", "</think>", "<thinking>", "</thinking>", "<reasoning>", "</reasoning>", "`<think>`", "`</think>`"),
    *("```xml\n<think>\na\n</think>\n```", "<a href='x'>y</a>", "{{ system }}", "{% if x %}", "<|im_end|>"),
    *("\n", "\n\n", "  ", "\t", "\r\n", "\u2028", "e\u0301", "\u00e9", "\ufb01", "\\frac{1}{2}", "**b**", "__c__"),
    *("The answer is: 7", "word", "def f():\n    return 1", "\u092e\u0930\u093e\u0920\u0940", "\U0001f600"),
    *('{"answer": "d"}', "#### 5", "[1, 2, ]", '"', "'"),
)


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    made = ("".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(count))
    return [f"Say {number}: {text}" for number, text in enumerate(made)]


def bare(text: str) -> str:
    """``text`` without what may be the end of a thought that the prompt opened."""
    return text.replace("</think>", "</b>")


# -- thoughts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n<Thinking>\na\n</thinking>\n\n  b\n", "a", "  b\n"),
        ("<reasoning>a</reasoning> b", "a", "b"),
        ("<think>say `</think>` here</think>b", "say `</think>` here", "b"),
        ("<think>```\n</think>\n```\nso</think>\nb", "```\n</think>\n```\nso", "b"),
        ("<think>a ``` b</think>c", "a ``` b", "c"),
        ("<think>a</think>\n<think>b</think> is how it looks", "a", "<think>b</think> is how it looks"),
        ("<think>never closed", "never closed", ""),
        # Templates that open the block in the prompt: DeepSeek's and Qwen's models end it on a line of its own.
        ("a\n</think>\n\nb", "a", "b"),
        ("</think>\n\nb", "", "b"),
        ("2 and 2 is 4.</think>4", "2 and 2 is 4.", "4"),
        ("I may say `</think>` here.\n</think>\n\nb", "I may say `</think>` here.", "b"),
        ("The '90s were long ago.</think>It's 4", "The '90s were long ago.", "It's 4"),
        ('Say "four".</think>Four', 'Say "four".', "Four"),
    ],
)
def test_a_thought_that_opens_an_answer_is_taken_off(text, thought, answer):
    assert split_thoughts(text) == (thought, answer)


@pytest.mark.parametrize(
    "text",
    [
        REGEX,
        "R1 puts its thoughts between `<think>` and `</think>`, and then answers.",
        "Close it with `</think>`.",
        "A thought ends with </think> and the answer follows.",
        "A thought ends with </think>, always.",
        'It ends at "</think>".',
        "```\nthought\n</think>\nanswer\n```",
        "Here:\n~~~xml\n<x>\n</think>\n~~~\nDone.",
        "Use:\n\n    </think>\n\nto close.",
        "Use:\n\n\t</think>\n",
        's = """\n</think>\n"""\n',
        'Write "a</think>b" here.',
        '{"template": "x</think>y"}',
        "print('a</think>b')",
        "Three steps:\n1. </think>\n2. b",
        "First\n</think>\nthen <think>",
        "<answer>5</answer></reasoning> so",
        "a</thinking>b",
        "The tag <think> opens",
        "`<think>` opens",
        "Hello <thinking>c</thinking> d",
        "  indented = True\n",
    ],
)
def test_tags_further_on_are_the_answers_own(text):
    assert split_thoughts(text) == ("", text)
    assert visible(text) == text.strip()


@pytest.mark.parametrize("text", [*texts(200, 1), "<think>a</think>b", "a\n</think>\n\nb", "<think> opens"])
def test_nothing_is_taken_off_where_the_api_gave_the_reasoning_apart(text):
    found = unwrap("direct", text, "because", get_task("conversation"), FREE)
    assert (found.response, found.reasoning) == (text, "because")


# -- envelopes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*texts(200, 2), "yes\nnot here", "a\tan\tto", "1,\r\nright", "[a, ], {b, }", " x "])
@pytest.mark.parametrize("task", ["conversation", "qa"])
def test_the_answer_in_an_envelope_is_what_the_teacher_said(task, text):
    said = json.dumps({"reasoning": "r", "answer": text})
    wrapped = f"Sure:\n```json\n{said}\n```"
    for whole in (said, wrapped, f"<think>hm {{x}}</think>{said}"):
        assert unwrap("chain_of_thought", whole, "", get_task(task), FREE).response == text
    summaries = json.dumps([{"Denser_Summary": "first"}, {"Denser_Summary": text}], ensure_ascii=False)
    assert unwrap("chain_of_density", summaries, "", get_task("summarization"), FREE).response == text


@pytest.mark.parametrize("number", ["0.10", "1e3", "12345678901234567890123", "1.0"])
def test_a_number_in_an_envelope_keeps_its_digits(number):
    assert unwrap("chain_of_thought", f'{{"answer": {number}}}', "", get_task("conversation"), FREE).response == number


@pytest.mark.parametrize("number", ["0.10", "1e3", "12", "-1,000.5"])
def test_a_number_in_json_that_cannot_be_read_keeps_its_digits(number):
    said = f'The set {{1}}: {{"reasoning": "r", "answer": {number}, "sure": "yes"}}'
    assert unwrap("chain_of_thought", said, "", get_task("conversation"), FREE).response == number


@pytest.mark.parametrize("text", ["\\frac{1}{2} of it", "see \\times, \\alpha and\nmore", 'a "q" \t b', "plain"])
def test_an_answer_among_other_braces_is_what_the_teacher_said(text):
    # LaTeX as teachers write it: with one backslash.
    said = json.dumps({"reasoning": "r", "answer": text}).replace("\\\\", "\\")
    found = unwrap("chain_of_thought", f"The set {{1, 2}}: {said}", "", get_task("conversation"), FREE)
    assert (found.response, found.reasoning) == (text, "r")


@pytest.mark.parametrize("answer", ['"He said "hi" to me"', '"Say "a", "b" or "c"."', "1/2", '"x" + "y"'])
def test_an_answer_that_cannot_be_read_to_its_end_is_not_cut_short(answer):
    with pytest.raises(Unparsable):
        unwrap("chain_of_thought", f'{{"reasoning": "r", "answer": {answer}}}', "", get_task("conversation"), FREE)
    with pytest.raises(Unparsable):
        unwrap("chain_of_density", f'[{{"Denser_Summary": {answer}}}]', "", get_task("summarization"), FREE)


def test_a_comma_too_many_is_mended_without_a_change_to_the_answer():
    said = '{"reasoning": "r", "answer": "a list: [1, 2, ]",}'
    assert unwrap("chain_of_thought", said, "", get_task("conversation"), FREE).response == "a list: [1, 2, ]"


def test_prose_in_place_of_an_envelope_is_no_answer_where_answers_are_prose():
    with pytest.raises(Unparsable):
        unwrap("chain_of_thought", "I looked. The result is: fine. More follows.", "", get_task("conversation"), FREE)


# -- from the body to the row -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_teacher_says_is_learnt_as_it_was_said(component, teacher, tmp_path, apart):
    said = texts(150, 3)
    said = said if apart else [bare(text) for text in said]
    said += ["<think>t</think> is a tag", " leading", "trailing\n"] if apart else ["    return 1\n", REGEX]
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(f"Number {number}?") for number in range(len(said))])

    def answer(messages):
        text = said[int(messages[-1]["content"].split()[1].rstrip("?"))]
        return {"content": text, "reasoning_content": "apart"} if apart else text

    asked = component("teacher_inference").run(question(teacher(answer).url, rows, task_type="conversation"))
    assert asked.returncode == 0, asked.stderr
    curated = component("curate").run({"rows": asked.outputs["train"], "task_type": "conversation"})
    assert curated.returncode == 0, curated.stderr
    learnt = [json.loads(line)["response"] for line in curated.outputs["train"].read_bytes().split(b"\n") if line]
    assert learnt == said


def test_thoughts_in_parts_of_a_content_are_given_apart():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": REGEX}]
    api = ChatApi("chat_completions", "http://h", "m", {})
    read = api.read({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    assert (read.text, read.reasoning) == (REGEX, "hm")


# -- rejects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "said", "reason"),
    [
        ("chain_of_thought", "I would rather not say which one.", "unparsable"),
        ("chain_of_thought", '{"reasoning": "r", "answer": "many"}', "unparsable"),
        ("direct", "<think>I would rather", "empty"),
        ("direct", "nul \x00 here", "characters"),
    ],
)
def test_a_reject_holds_what_the_teacher_said(component, teacher, tmp_path, strategy, said, reason):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat("How many?")])
    # With a longer key, the reason would be that.
    key = "s3cret'ky\\value"
    loop = teacher(lambda messages: f"{said} {key} {'x' * (285 - len(said) - len(key))} {key}")
    inputs = question(loop.url, rows, strategy=strategy, min_success_ratio=0, teacher_key="env:KEY")
    result = component("teacher_inference").run(inputs, env={"KEY": key})
    (one,) = result.rows("rejects")
    assert one["reason"] == reason
    assert said.split()[-1] in one["detail"]
    assert "s3cr" not in one["detail"]


# -- the user's system message ----------------------------------------------------------------------------------------

TEMPLATES = sorted(f"{path.parent.name}/{path.stem}" for path in BUILT_IN.glob("*/*.jinja2"))
GOLDEN = json.loads((Path(__file__).parent / "rendered_requests.json").read_text())


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_system_message_reaches_the_teacher_under_every_strategy(template):
    task, strategy = template.split("/")
    system = "Answer in Marathi; cite clause 7 of {{ this }}."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Which?\n(A) one\n(B) two"}]
    rendered = Prompts(task, strategy, None, 80).render({"messages": messages}, messages)
    without = Prompts(task, strategy, None, 80).render({"messages": messages[1:]}, messages[1:])
    assert [turn["role"] for turn in rendered] == ["system", "user"]
    assert rendered[0]["content"].startswith(system)
    if strategy != "direct":
        assert rendered[0]["content"] == f"{system}\n\n{without[0]['content']}"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_rows_without_a_system_message_are_asked_as_before_and_not_again(name):
    task, strategy, _ = name.split("/")
    rows = {
        "plain": [("user", "What is it?\nSay it.")],
        "choices": [("user", "Which?\n(A) one\n(B) two")],
        "turns": [("user", "Hi"), ("assistant", "Ho"), ("user", "And?")],
    }
    messages = [{"role": role, "content": text} for role, text in rows[name.split("/")[2]]]
    assert Prompts(task, strategy, None, 80).render({"messages": messages}, messages) == GOLDEN[name]


def test_a_template_that_leaves_out_the_system_message_says_so_once(tmp_path, capsys):
    (tmp_path / "math").mkdir()
    (tmp_path / "math/direct.jinja2").write_text("Solve it.")
    prompts = Prompts("math", "direct", tmp_path, 80)
    for _ in range(2):
        messages = chat("1 + 1?", system="In words.")["messages"]
        prompts.render({"messages": messages}, messages)
    assert capsys.readouterr().err.count("leaves out the rows' system messages") == 1
