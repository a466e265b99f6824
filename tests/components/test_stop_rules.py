"""Which refusals end a run, in the order in which requests were sent and answered."""

from __future__ import annotations

import pytest
from common.step import BadConfig, Refused, StepError, Unavailable
from stop_rules import DENIED, GONE, KEY, MONEY, OF_A_TEXT, PAGE, StopRules, kind_of, page_of

URL = "http://h/v1/chat/completions"


def rules(answers: int = 0) -> StopRules:
    made = StopRules(URL, "m")
    for _ in range(answers):
        number = made.sent()
        made.answered(number)
        made.ended(number)
    return made


def refuse(made: StopRules, what: object, row: str = "r", said: str = "no") -> None:
    number = made.sent()
    made.refused(number, row, what, said)
    made.ended(number)


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        (MONEY, Refused, Refused),
        (KEY, Refused, Refused),
        (DENIED, Refused, Refused),
        (GONE, BadConfig, Unavailable),
        (PAGE, BadConfig, Unavailable),
    ],
)
def test_three_of_a_kind_end_a_run_at_its_start_and_in_its_middle(what, before, after):
    for answers, error in ((0, before), (50, after)):
        made = rules(answers)
        refuse(made, what, "a")
        refuse(made, what, "b")
        with pytest.raises(error, match="no"):
            refuse(made, what, "c")


def test_twenty_of_one_text_end_a_run_and_other_texts_do_not():
    made = rules(5)
    for number in range(3 * OF_A_TEXT):
        refuse(made, f"text {number}", str(number))
    for number in range(OF_A_TEXT - 1):
        refuse(made, "retired", str(number))
    with pytest.raises(Unavailable):
        refuse(made, "retired", "last")


def test_an_answer_in_between_shows_that_the_service_answers():
    made = rules()
    for _ in range(10):
        refuse(made, GONE)
        refuse(made, GONE)
        number = made.sent()
        made.answered(number)
        made.ended(number)
    assert made.left_open() is None


def test_an_answer_to_what_was_sent_before_the_first_refusal_shows_nothing():
    made = rules()
    early = [made.sent() for _ in range(5)]
    refuse(made, MONEY)
    refuse(made, MONEY)
    for number in early:
        made.answered(number)
        made.ended(number)
    with pytest.raises(Refused):
        refuse(made, MONEY)


def test_what_was_sent_in_between_is_waited_for():
    made = rules()
    refuse(made, GONE)
    slow = made.sent()
    for _ in range(5):
        refuse(made, GONE)
    made.answered(slow)
    made.ended(slow)
    assert made.left_open() is None
    refuse(made, GONE)
    slow = made.sent()
    refuse(made, GONE)
    refuse(made, GONE)
    with pytest.raises(StepError):
        made.ended(slow)


def test_a_row_that_a_gateway_denies_for_its_words_does_not_end_a_run():
    made = rules(5)
    for _ in range(6):
        refuse(made, DENIED, "one row")
    assert made.left_open() is None


@pytest.mark.parametrize(("what", "count"), [(MONEY, 1), (KEY, 1), (GONE, 1), (PAGE, 1), ("retired", 3)])
def test_the_last_rows_of_a_run_may_be_too_few_to_end_it_and_are_told_of(what, count):
    made = rules(100)
    for number in range(count):
        assert made.left_open() is None
        refuse(made, what, str(number))
    assert made.left_open() is not None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, "", KEY),
        (402, "", MONEY),
        (403, "", DENIED),
        (404, "", GONE),
        (410, "", GONE),
        (429, '{"error": {"code": "insufficient_quota"}}', MONEY),
        (429, '{"error": {"message": "You exceeded your current quota, please check your plan"}}', MONEY),
        (429, '{"error": {"message": "Rate limit reached for requests per minute"}}', None),
        (400, '{"error": {"message": "Your credit balance is too low to access the API."}}', MONEY),
        (403, '{"error": {"message": "Insufficient Balance"}}', MONEY),
        (400, '{"error": {"message": "The model `m` has been retired."}}', GONE),
        (400, '{"error": {"message": "The model m is retired and no longer available"}}', GONE),
        (400, '{"error": {"code": "DeploymentNotFound"}}', GONE),
        (400, '{"error": {"message": "invalid value"}}', None),
        (503, '{"error": {"message": "the model m is no longer loaded"}}', None),
    ],
)
def test_refusals_of_everybody_are_known_by_status_and_words(status, body, kind):
    assert kind_of(status, body.encode()) == kind


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("text/html; charset=utf-8", "<html><head><style>a{}</style><title>Sign in</title></head></html>", "Sign in"),
        ("application/json", "\n <!DOCTYPE html><p>Proxy says no</p>", "Proxy says no"),
        ("text/html", "It works!", "It works!"),
        ("application/json", '{"choices": []}', None),
        ("text/plain", "{}", None),
    ],
)
def test_a_page_is_known_by_its_type_or_its_beginning(content_type, body, words):
    assert page_of(content_type, body.encode()) == words


def test_enough_refusals_are_in_doubt_until_who_was_asked_in_between_is_through():
    made = rules()
    refuse(made, KEY)
    late = made.sent()
    refuse(made, KEY)
    assert not made.in_doubt
    refuse(made, KEY)
    assert made.in_doubt
    made.answered(late)
    assert not made.in_doubt
    made.ended(late)
