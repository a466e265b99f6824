"""The tasks: how an answer is found in what a model says, and which responses may be learnt."""

from __future__ import annotations

from fractions import Fraction

import pytest
from common.rows import make_row
from common.step import BadConfig
from common.tasks import get_task, task_names
from common.tasks.math import number_in
from common.tasks.qa import choices_of
from hypothesis import given
from hypothesis import strategies as st

CHOICES = make_row([{"role": "user", "content": "Which?\nAnswer Choices:\n(A) ignore it\n(B) enforce\n(C) yell at"}])
PLAIN = make_row([{"role": "user", "content": "Who wrote it?"}])


def test_each_task_has_a_headline_among_its_metrics():
    assert {"conversation", "math", "nli", "qa", "summarization"} <= set(task_names())
    for name in task_names():
        assert get_task(name).headline in get_task(name).metrics


@pytest.mark.parametrize(("alias", "name"), [("NLU_QA", "qa"), ("MATH", "math"), ("Nli", "nli"), ("nlu-qa", "qa")])
def test_tasks_are_found_by_their_aliases_in_any_case(alias, name):
    assert get_task(alias).name == name


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(BadConfig, match="known: conversation, math"):
        get_task("maths2")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("18", "18"),
        ("18.", "18"),
        ("18.00", "18"),
        ("$18.50", "18.5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\u22127", "-7"),
        ("1,234,567", "1234567"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("15%", "15"),
        ("1/2", "0.5"),
        ("1/3", "1/3"),
        ("The answer is 18.", "18"),
        ("The final answer is: **18** apples", "18"),
        ("Answer: $1,234.50", "1234.5"),
        ("so x = 5 - 3 = 2", "2"),
        ("She has 48-5=43 clips", "43"),
        ("first 3, then 4, in the end 12 eggs", "12"),
        ("\\boxed{42}", "42"),
        ("\\boxed{\\frac{1}{2}}", "0.5"),
        ("It is \\(\\boxed{1{,}000}\\).", "1000"),
        ("She sold 48/2 = <<48/2=24>>24 clips.\n#### 72", "72"),
        ("#### 1,080", "1080"),
        ("The answer is 5. I checked it in 2 ways.", "5"),
        ("The final answer is 18, because 16 - 3 - 4 leaves 9.", "18"),
        ("The answer is 3 + 4 = 7.", "7"),
        ("Answer: -3", "-3"),
        ("<think>maybe 7</think>8", "8"),
        ("many", None),
        ("", None),
    ],
)
def test_numbers_are_found_in_what_models_say(text, answer):
    assert get_task("math").parse(text) == answer


@given(st.fractions(max_denominator=10_000))
def test_a_number_is_written_so_that_it_is_read_again(value):
    assert number_in(get_task("math").parse(f"{value.numerator}/{value.denominator}")) == value


@given(st.integers(-(10**12), 10**12))
def test_thousands_separators_change_nothing(value):
    assert number_in(f"{value:,}") == Fraction(value)


@pytest.mark.parametrize(
    ("answer", "reference", "correct"),
    [("18", "18", True), ("18.0", "#### 18", True), ("1/2", "0.5", True), ("18", "19", False), (None, "1", False)],
)
def test_numbers_are_compared_by_value(answer, reference, correct):
    assert get_task("math").correct(answer, reference) is correct


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("entailment", "entailment"),
        ("Entailment.", "entailment"),
        ("'neutral'", "neutral"),
        ("**Contradiction**", "contradiction"),
        ("The relationship is contradiction.", "contradiction"),
        ("The premise entails the hypothesis.", "entailment"),
        ("This is not entailment but neutral", "neutral"),
        ("It is neither entailment nor contradiction, so neutral", "neutral"),
        ("One could think of entailment.\nAnswer: neutral", "neutral"),
        ("Entailment would need more.\nContradiction", "contradiction"),
        ("entailment or neutral", None),
        ("yes", None),
    ],
)
def test_labels_are_found_in_what_models_say(text, label):
    assert get_task("nli").parse(text) == label


@pytest.mark.parametrize(
    ("gold", "label"), [("0", "entailment"), ("1", "neutral"), ("2", "contradiction"), ("-1", None)]
)
def test_the_numbers_of_snli_are_labels(gold, label):
    assert get_task("nli").reference(gold) == label


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B) enforce", "B"),
        ("(B) enforce", "B"),
        ("**B**", "B"),
        ("Enforce.", "B"),
        ("Answer: B", "B"),
        ("The answer is (B) enforce.", "B"),
        ("The correct option is B because (A) is bad", "B"),
        ("I would choose option B", "B"),
        ("Think of (A).\nFinal answer: (B)", "B"),
        ("E", None),
        ("A person would enforce it", None),
        ("(A) or (B)", "A"),
        ("", None),
    ],
)
def test_choices_are_found_in_what_models_say(text, letter):
    assert get_task("qa").parse(text, CHOICES) == letter


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Jane Austen", "Jane Austen"),
        ("The answer is Jane Austen.", "Jane Austen."),
        ("J. K. Rowling", "J. K. Rowling"),
        ("A. Einstein", "A. Einstein"),
        ("C", "C"),
    ],
)
def test_free_answers_are_kept_whole(text, answer):
    assert get_task("qa").parse(text, PLAIN) == answer


def test_free_answers_are_compared_without_case_and_punctuation():
    task = get_task("qa")
    assert task.correct(task.parse("The answer is jane  austen."), "Jane Austen") is True
    assert task.correct("Emily Bronte", "Jane Austen") is False


def test_choices_are_read_from_the_last_turn():
    assert choices_of(CHOICES) == {"A": "ignore it", "B": "enforce", "C": "yell at"}
    assert choices_of(PLAIN) == {}
    assert choices_of(None) == {}


def test_a_gold_answer_given_as_text_becomes_its_letter():
    assert get_task("qa").reference("yell at", CHOICES) == "C"


def test_tasks_without_accuracy_say_so():
    assert get_task("conversation").correct("a", "a") is None
    assert get_task("summarization").correct("a", "a") is None


@pytest.mark.parametrize(
    ("task", "response", "reason"),
    [
        ("math", "about twelve", "unparsable"),
        ("math", "12", None),
        ("nli", "maybe", "wrong_label"),
        ("nli", "neutral", None),
        ("qa", "(F)", "wrong_label"),
        ("qa", "(C)", None),
        ("conversation", "", "empty"),
        ("conversation", "<think>hm</think>", "empty"),
        ("conversation", "Which? Answer choices: (A) ignore it (B) enforce (C) yell at", "copy"),
        ("conversation", "Enforce it.", None),
        ("summarization", "Which?\nAnswer Choices:\n(A) ignore it", "copy"),
        ("summarization", "Three choices.", None),
    ],
)
def test_what_must_not_be_learnt_is_named(task, response, reason):
    assert get_task(task).check(CHOICES, response) == reason


def test_a_response_may_be_limited_in_words():
    assert get_task("summarization").check(PLAIN, "one two three", max_words=2) == "too_long"
    assert get_task("summarization").check(PLAIN, "one two", max_words=2) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("neutral\n\nExplanation: there is no entailment or contradiction here.", "neutral"),
        ("The premise neither entails nor contradicts the hypothesis.", "neutral"),
        ("Since it doesn't contradict the premise, but doesn't entail it either: neutral.", "neutral"),
        ("The hypothesis cannot be entailed from the premise. Neutral.", "neutral"),
        ("There is no contradiction, so this is entailment.", "entailment"),
        ("non-entailment", None),
        ("entailment or neutral", None),
        ("<think>clearly entailment", None),
    ],
)
def test_labels_that_are_denied_are_not_the_answer(text, label):
    assert get_task("nli").parse(text) == label


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("\\boxed{\\text{B}}", "B"),
        ("B enforce", "B"),
        ("I would choose B.", "B"),
        ("The answer is: the enforce", "B"),
        ("A", "A"),
        ("Both A and B", None),
        ("A lot of people do", None),
    ],
)
def test_choices_are_found_however_they_are_written(text, letter):
    assert get_task("qa").parse(text, CHOICES) == letter


@pytest.mark.parametrize(
    ("text", "answer"), [("2.5e3", "2500"), ("1E6", "1000000"), ("3 eggs", "3"), ("7" * 101, None)]
)
def test_powers_of_ten_are_numbers_and_endless_digits_are_not(text, answer):
    assert get_task("math").parse(text) == answer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>a</think>b", "b"),
        ("<Think>a</think>b<thinking>c</thinking> d", "b<thinking>c</thinking> d"),
        ("thoughts</think>b", "b"),
        ("<think>never closed", ""),
        ("a <think> in the middle", "a <think> in the middle"),
    ],
)
def test_what_is_visible_of_a_response_with_thoughts(text, shown):
    from common.text import visible

    assert visible(text) == shown


def test_thoughts_without_end_cost_no_time():
    import time

    from common.text import visible

    # Not by the clock: other processes take their share of that.
    started = time.process_time()
    assert visible("x" + "<think>" * 200_000 + "</think>" + "<think>" * 200_000)
    choices_of({"messages": [{"content": "\n" * 200_000}]})
    assert time.process_time() - started < 5


#: Gold answers that are no number, or several. Today's reader of responses would take the last number of most.
NO_GOLD_NUMBERS = [
    "\\boxed{\\sqrt{2}}",
    "x^2+3",
    "(1,2)",
    "\\boxed{(1,200)}",
    "\\frac{\\pi}{2}",
    "5 \\text{ or } 7",
    "2^{10}",
    "3 \\times 10^4",
    "12_{16}",
    "7!",
    "2**10",
    "Answer: 2**10",
    "5, 7",
    "1,2",
    "12,34",
    "3,5",
    "1.234,50",
    "1 234",
    "1\u202f234",
    "1/0",
    "\\frac{1}{0}",
    "1\\frac{1}{2}",
    "1 1/2",
    "1\xbd",
    "\xbd",
    "0.\\overline{3}",
    "3:00 PM",
    "18k",
    "$18 million",
    "1.8M",
    "3 dozen",
    "2x",
    "3xy",
    "3 x",
    "5\\sqrt{2}",
    "\\sqrt{16}",
    "10\xb2",
    "\xb15",
    "5-7",
    "18 or 20",
    "x = 2, y = 3",
    "x = 2 or x = 3",
    "x^2 = 16",
    "2x = 18",
    "x >= 5",
    "x != 5",
    "(x, y) = (1, 2)",
    "\\{1,200\\}",
    "[1,200]",
    "\\boxed{2} or \\boxed{3}",
    "\\boxed{5",
    "no number",
    "",
    "\\infty",
    "She has 48-5=43 clips and 2 cats",
    "There were 3 boxes, then 12 eggs.",
    "twelve",
    "3\u4e07",
    "5 choose 2",
    "0,125",
    "1.2.3",
    "12:30",
    "7 \\pmod{12}",
    "10^3",
    "5 3",
    "3 + 4",
    "3i",
    "5 pi",
    "1,23,45",
    "answer is 5 or 6",
    "The answer is 18, because 16 - 3 - 4 leaves 9",
    "5 feet 3 inches",
    "\\boxed{5}\\boxed{6}",
    "18 and a half",
    "5 hundred",
    "-",
    "$",
    "%",
    "x",
    "= ",
    "1e400",
    "7" * 101,
    "\\text{(B)}",
    "18 \xb1 2",
    "~18",
    "<5",
    "2 3/4",
    "Not 5",
    "the answer is not 5",
    "3 to 4",
    "\\frac{1}{2} + \\frac{1}{3}",
    "2\\pi",
    "\\frac{3}{4}x",
    "5 n",
    "12 a",
    "10 mod 3",
    "a = b = 5 = c",
    "--5",
    "-\\frac{-3}{4}",
    "x=5!",
    "3 of 4",
    "5%%",
    "#### \\sqrt{2}",
    "#### 5 or 6",
    "e",
    "2e",
    "1,000,00",
    "\u0967/\u0966",
    "0x12",
    "1_000",
    "5 \xd7 3",
    "5*3",
    "3\xb2",
    "10 %5",
    "1 in 5",
    "4 out of 5",
    "5C2",
    "5P2",
    "--5",
    "-\\frac{-3}{4}",
]


@pytest.mark.parametrize("text", NO_GOLD_NUMBERS)
def test_a_gold_answer_that_is_no_number_is_refused(text):
    assert get_task("math").reference(text) is None
    assert get_task("math").correct("2", text) is None


GOLD_NUMBERS = {
    "18": "18",
    "18.": "18",
    "18.00": "18",
    "$18.50": "37/2",
    "-$5": "-5",
    "$-5": "-5",
    "\u22127": "-7",
    "1,234,567": "1234567",
    "1,23,456": "123456",
    ".5": "1/2",
    "15 \u20ac": "15",
    "1,234.50\u20ac": "1234.5",
    "\uff11\uff0c\uff12\uff13\uff14": "1234",
    "\u200f12\u200e": "12",
    "\ufeff#### 18": "18",
    "15%": "15",
    "15\\%": "15",
    "1/2": "1/2",
    "\\boxed{\\frac{1}{2}}": "1/2",
    "\\dfrac{7}{2}": "7/2",
    "-\\frac{7}{2}": "-7/2",
    "\\frac{-7}{2}": "-7/2",
    "$\\frac{3}{4}$": "3/4",
    "#### 18": "18",
    "a b 3 <<4=4>>\n#### 1,080": "1080",
    "so \\boxed{42}": "42",
    "\\boxed{1{,}000}": "1000",
    "\\boxed{10,\\!000}": "10000",
    "\\boxed{18\\text{ cm}^2}": "18",
    "\\boxed{\\$18}": "18",
    "45^\\circ": "45",
    "45^{\\circ}": "45",
    "45\xb0": "45",
    "x = 18": "18",
    "9 * 2 = $18": "18",
    "Total = 18": "18",
    "f(2) = 18": "18",
    "9 + 5 = 14. 14 / 7 = 2. #### 2": "2",
    "The answer is 18.": "18",
    "The final answer is: **18** apples": "18",
    "Answer: $1,234.50": "2469/2",
    "Final Answer: The final answer is $18$. I hope it is correct.": "18",
    "18 eggs": "18",
    "18 duck eggs per day": "18",
    "60 km/h": "60",
    "18cm": "18",
    "$18$": "18",
    "\\(18\\)": "18",
    "**18**": "18",
    "(18)": "18",
    "1e3": "1000",
    "2.5e3": "2500",
    "+5": "5",
    "\u0967\u096e": "18",
    "\uff11\uff18": "18",
    "\u0663\u066b\u0665": "7/2",
    "18\u4e2a": "18",
    "18 \u044f\u0438\u0446": "18",
    "3/4 of a cup": "3/4",
    "5 m": "5",
    "= 18": "18",
    "0": "0",
    "-0.5": "-1/2",
    "1/3": "1/3",
    "x_1 = 5": "5",
    "50\xa2": "50",
    "18 dollars a day": "18",
    "#### 18 eggs": "18",
    "#### $18": "18",
    "18 square feet": "18",
    "12 square units": "12",
    "12\\text{ inches}": "12",
    "\\boxed{12}\\text{ inches}": "12",
    "\u20ac 5": "5",
    "5 times": "5",
    "18\n": "18",
    "3 apples.": "3",
    "2nd": "2",
    "x=-3": "-3",
    "so x = 5 - 3 = 2": "2",
    "5 percent": "5",
    "5 degrees": "5",
    "18 (eggs)": "18",
    "$3": "3",
    "\\$3.50": "7/2",
    "25 \\%": "25",
    "1,000 USD": "1000",
    "3 km": "3",
}


@pytest.mark.parametrize("text", GOLD_NUMBERS)
def test_a_gold_answer_that_is_a_number_or_marks_one_is_read(text):
    assert Fraction(get_task("math").reference(text)) == Fraction(GOLD_NUMBERS[text])


@given(st.fractions(max_denominator=10_000))
def test_a_gold_number_is_the_one_that_is_written(value):
    task = get_task("math")
    assert task.correct(task.parse(str(value)), task.reference(f"so it is \\boxed{{{value}}}")) is True


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 5000, "(" * 50_000, "=" * 50_000, "1," * 50_000, "a " * 50_000 + "= 5", "answer: " * 20_000]
)
def test_long_gold_answers_cost_no_time(text):
    import time

    started = time.perf_counter()
    assert get_task("math").reference(text) is None or text.startswith("a")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "E",
        "F",
        "banana",
        "A or C",
        "(A) or (B)",
        "A, B",
        "A/B",
        "A B",
        "AB",
        "2",
        "A person would",
        "Both A and B",
        "A\nB",
    ],
)
def test_a_gold_answer_that_is_none_of_the_choices_or_several_is_refused(text):
    assert get_task("qa").reference(text, CHOICES) is None


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B) enforce",
        "(B) enforce",
        "Enforce.",
        "Answer: B",
        "B because it is",
        "B\nBecause (A) is bad",
    ],
)
def test_a_gold_answer_that_is_one_of_the_choices_is_its_letter(text):
    assert get_task("qa").reference(text, CHOICES) == "B"


@pytest.mark.parametrize(
    "text",
    ["-1", "3", "-", "yes", "not_entailment", "entailment or neutral", "It fails to entail it", "neutral, entailment"],
)
def test_a_gold_answer_that_is_no_label_is_refused(text):
    assert get_task("nli").reference(text) is None
    assert get_task("nli").correct("neutral", text) is None


@pytest.mark.parametrize(
    "text",
    [
        "neutral",
        "Neutral.",
        "**Neutral**",
        "Label: neutral",
        "neutral\n\nNo entailment is given.",
        "Neutral. It may be.",
    ],
)
def test_a_gold_label_may_be_explained(text):
    assert get_task("nli").reference(text) == "neutral"
