"""The sandbox's world: its rows are right, repeatable, and its splits share nothing."""

import operator
import re
from collections import Counter
from itertools import combinations
from random import Random

import pytest
from world import SPLITS, TASKS, arithmetic, passages, split_of, task_rows

COUNT = 400


def asked(row):
    return "\n".join(message["content"] for message in row["messages"][:-1])


def gold(row):
    return row["messages"][-1]["content"]


@pytest.mark.parametrize("task", TASKS)
def test_equal_arguments_give_equal_rows_and_another_seed_gives_others(task):
    assert task_rows(task, "train", 50, 3) == task_rows(task, "train", 50, 3)
    assert task_rows(task, "train", 50, 3) != task_rows(task, "train", 50, 4)


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_chats_that_end_in_the_gold_answer(task):
    for row in task_rows(task, "train", COUNT, 1):
        roles = [message["role"] for message in row["messages"]]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"].strip() for message in row["messages"])


@pytest.mark.parametrize("task", TASKS)
def test_no_row_and_no_combination_stands_in_two_splits(task):
    drawn = {split: task_rows(task, split, COUNT, seed) for seed, split in enumerate(SPLITS)}
    for one, other in combinations(SPLITS, 2):
        assert not {asked(row) for row in drawn[one]} & {asked(row) for row in drawn[other]}
    random = Random(0)
    found = {split: set() for split in SPLITS}
    for _ in range(20 * COUNT):
        combination = (task, *TASKS[task](random).combination)
        found[split_of(combination)].add(combination)
    assert all(found.values())
    assert not any(found[one] & found[other] for one, other in combinations(SPLITS, 2))


def test_word_problems_of_two_splits_share_no_pair_of_steps():
    steps = {split: {gold(row).partition(" ####")[0] for row in task_rows("math", split, COUNT, 5)} for split in SPLITS}
    assert not any(steps[one] & steps[other] for one, other in combinations(SPLITS, 2))


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no split 'dev'"):
        task_rows("math", "dev", 1)


def test_asking_for_more_rows_than_there_are_says_so(monkeypatch):
    one = TASKS["nli"](Random(0))
    monkeypatch.setitem(TASKS, "nli", lambda random: one)
    with pytest.raises(ValueError, match="nli: found only"):
        task_rows("nli", split_of(("nli", *one.combination)), 2)


def calculated(text):
    left, operation, right = text.split()
    by = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
    return by[operation](int(left), int(right))


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def solved(text):
    """The answer to a word problem, read from its sentences alone by other rules than those that wrote it."""
    thing = re.search(r"How many (\w+)", text)[1]
    sentences = re.split(r"(?<=[.?]) ", text)
    if "dollars" in text:
        *_, paid = numbers(text.split("pays with")[1])
        price = int(re.search(r"(?:for|costs) (\d+) dollars", text)[1])
        count = int(re.search(r"buys (\d+)", text)[1])
        return paid - price * count
    if "each friend" in text:
        have, more = (int(n) for n in re.search(rf"has (\d+) {thing} and \w+ (\d+) more", text).groups())
        return (have + more) // int(re.search(r"with (\d+) friends", text)[1])
    if "things" in text:
        kept = sum(int(n) for n in re.search(r"(\d+) \w+ and (\d+) \w+\.", text).groups())
        return kept - int(re.search(r"(\d+) things", text)[1])
    if "together" in text or "in all" in text:
        word = re.search(rf"(\d+) (more|fewer) {thing} than", text)
        start = int(re.search(rf"(?<!\w)has (\d+) {thing}\.", text)[1])
        return start + start + int(word[1]) * (1 if word[2] == "more" else -1)
    grouped = re.search(rf"(\d+) \w+(?: with (\d+) {thing} each|\. In each are (\d+) {thing})", text)
    if grouped:
        stock = int(grouped[1]) * int(grouped[2] or grouped[3])
    else:
        stock = int(re.search(rf"(?:has|are) (\d+) {thing}", text)[1])
    for sentence in sentences:
        if change := re.search(r"(\d+) (more|of them)", sentence):
            stock += int(change[1]) * (1 if change[2] == "more" else -1)
    return stock


def test_the_gold_answers_of_word_problems_are_right():
    for row in task_rows("math", "train", 2000, 2):
        steps, _, answer = gold(row).partition(" #### ")
        assert solved(asked(row)) == int(answer), row
        for step in steps.rstrip(".").split(". "):
            calculation, _, result = step.partition(" = ")
            assert calculated(calculation) == int(result)
        assert steps.rstrip(".").endswith(f"= {answer}")


def test_no_answer_of_a_word_problem_can_be_copied_from_it():
    rows = task_rows("math", "test", 1000, 2)
    assert not any(int(gold(row).rpartition(" ")[2]) in numbers(asked(row)) for row in rows)
    _, most = Counter(gold(row).rpartition(" ")[2] for row in rows).most_common(1)[0]
    assert most < 100


def test_every_kind_of_word_problem_turns_up():
    random = Random(1)
    assert {kind(random).kind for kind in arithmetic.KINDS} == {
        *("change", "compare", "groups", "join", "purchase", "share"),
    }


def test_the_labels_of_inferences_are_right_and_equally_frequent():
    rows = task_rows("nli", "train", 3000, 1)
    for row in rows:
        premise, hypothesis = re.search(r"Premise: (.*)\nHypothesis: (.*)\n", asked(row)).groups()
        assert gold(row) == judged(premise, hypothesis), row
    assert all(900 < count < 1100 for count in Counter(map(gold, rows)).values())


def judged(premise, hypothesis):
    if compared := re.fullmatch(r"(\w+) has (more|fewer) (\w+) than (\w+)\.", hypothesis):
        owned = {who: int(n) for who, n in re.findall(r"(\w+) has (\d+)", premise)}
        one, word, _, other = compared.groups()
        if one not in owned or other not in owned:
            return "neutral"
        holds = owned[one] > owned[other] if word == "more" else owned[one] < owned[other]
        return "entailment" if holds else "contradiction"
    if placed := re.fullmatch(r"(\w+) is at the (\w+)\.", hypothesis):
        places = dict(re.findall(r"(\w+) (?:walks to|stays at) the (\w+)", premise))
        if placed[1] not in places:
            return "neutral"
        return "entailment" if places[placed[1]] == placed[2] else "contradiction"
    who, colour, animal = re.fullmatch(r"(\w+) owns a (\w+) (\w+)\.", premise).groups()
    if said := re.fullmatch(r"The (\w+) of (\w+) is (\w+)\.", hypothesis):
        assert said[1] == animal
        assert said[2] == who
        return "entailment" if said[3] == colour else "contradiction"
    return "neutral"


def test_the_choices_of_questions_are_right():
    for row in task_rows("qa", "train", 1000, 1):
        text = asked(row)
        moves = re.findall(r"(\w+) puts the (\w+) in the (\w+)\.", text)
        if wanted := re.search(r"Where is the (\w+) now", text):
            answer = [place for _, thing, place in moves if thing == wanted[1]][-1]
        else:
            wanted = re.search(r"Who moved the (\w+) last", text)
            answer = [who for who, thing, _ in moves if thing == wanted[1]][-1]
        options = dict(re.findall(r"\((\w)\) (\w+)", text))
        assert len(set(options.values())) == 5
        assert options[gold(row)] == answer


def test_the_shopkeeper_says_nothing_that_was_not_said():
    for row in task_rows("conversation", "train", 500, 1):
        said = set(re.findall(r"[A-Z][a-z]+|\d+", asked(row)))
        told = set(re.findall(r"[A-Z][a-z]+|\d+", gold(row))) - {"You", "Yes"}
        assert told <= said, row


def test_a_summary_is_one_sentence_about_the_one_deed_of_the_article():
    for row in task_rows("summarization", "train", 500, 1):
        who, deed, count, thing, place, day = re.fullmatch(
            r"(\w+) (\w+) (\d+) (\w+) at the (\w+) on (\w+)\.", gold(row)
        ).groups()
        past = {"sells": "sold", "finds": "found", "buys": "bought", "loses": "lost"}[deed]
        text = asked(row)
        assert f"{who} {past} {count} {thing}" in text
        assert re.search(rf"On {day} {who} went to the {place}|It was {day} and {who} was at the {place}", text)
        assert len(gold(row)) < len(text) / 3


def test_the_prose_holds_no_question_no_markup_and_only_right_sums():
    texts = passages(3000, 1)
    assert not any("?" in text or "#" in text or "<|" in text or "(A)" in text for text in texts)
    sums = re.findall(r"(\d+ [-+*/] \d+) = (\d+)", " ".join(texts))
    assert len(sums) > 3000
    assert all(calculated(left) == int(right) for left, right in sums)
