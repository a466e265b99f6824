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


def test_there_are_five_tasks_each_with_a_headline_among_its_metrics():
    assert task_names() == ["conversation", "math", "nli", "qa", "summarization"]
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
    from common.tasks.text import visible

    assert visible(text) == shown


def test_thoughts_without_end_cost_no_time():
    import time

    from common.tasks.text import visible

    started = time.perf_counter()
    assert visible("x" + "<think>" * 200_000 + "</think>" + "<think>" * 200_000)
    choices_of({"messages": [{"content": "\n" * 200_000}]})
    assert time.perf_counter() - started < 5
