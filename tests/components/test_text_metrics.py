"""Metrics of texts in any script: equal texts have 1, an empty one has 0, and English figures are the library's."""

# Letters that look like those of another script are what this is about.
# ruff: noqa: RUF001

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from answers import Answer
from common.rows import make_row
from common.tasks import get_task
from common.text import pieces, squash, words
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import Scorer
from text_metrics import bleu_tokenizer, corpus_bleu, corpus_chrf, normal, rouge, sentence_bleu, sentence_chrf, token_f1

TEXTS = {
    "marathi": "महाराष्ट्राची राजधानी मुंबई आहे आणि ती समुद्रकिनारी आहे",
    "tamil": "தமிழ்நாட்டின் தலைநகரம் சென்னை ஆகும்",
    "chinese": "今天北京的天气非常好，我们去公园。",
    "japanese": "今日は東京でコーヒーを飲みました。",
    "korean": "한국의 수도는 서울이며 큰 도시입니다",
    "thai": "วันนี้อากาศดีมากที่กรุงเทพ",
    "khmer": "ភ្នំពេញជារដ្ឋធានី",
    "lao": "ວຽງຈັນເປັນເມືອງຫຼວງ",
    "myanmar": "ရန်ကုန်မြို့သည် ကြီးသည်",
    "tibetan": "བོད་ཀྱི་སྐད་ཡིག་ནི་ཡག་པོ་ཡིན",
    "ethiopic": "ሰላም፡ለዓለም፡እንዴት፡ናችሁ፡ዛሬ",
    "new-tai-lue": "ᦟᦲᧅᦷᦎᦺᦑᦟᦹᧉ",
    "arabic": "عاصمة مصر هي القاهرة وهي مدينة كبيرة",
    "persian": "می\u200cخواهم به تهران بروم",
    "hebrew": "בירת ישראל היא ירושלים",
    "russian": "Столица России — Москва, большой город",
    "greek": "Η πρωτεύουσα της Ελλάδας είναι η Αθήνα",
    "french": "Le été à la mer était agréable",
    "mixed": "Hello 世界, привет 🎉 test 42",
    "emoji": "🎉👍🏽❤️",
    "one-emoji": "👍",
    "one-word": "안녕",
    "punctuation": "?!...",
    "one-mark": "。",
}
METRICS = (
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "exact_match",
    "token_f1",
    "accuracy",
    "agreement_with_teacher",
)


def rows_of(reference: str, count: int = 3) -> list[dict[str, Any]]:
    row = make_row([{"role": "user", "content": "Say it."}], reference)
    return [row | {"id": str(n)} for n in range(count)]


def answers(texts: Sequence[str]) -> list[Answer]:
    return [Answer(text, "stop", 1) for text in texts]


@pytest.mark.parametrize("task", ["conversation", "summarization", "qa"])
@pytest.mark.parametrize("name", TEXTS)
def test_an_answer_that_equals_its_reference_has_one_in_every_script_and_an_empty_one_has_nothing(
    name: str, task: str
) -> None:
    text = TEXTS[name]
    scorer = Scorer(get_task(task), rows_of(text), answers([text] * 3), 0)
    predictions, scores = scorer.score(answers([text] * 3))
    measured = {metric: scores[metric] for metric in METRICS if scores.get(metric) is not None}
    assert measured == pytest.approx(dict.fromkeys(measured, 1.0))
    assert {get_task(task).headline, "exact_match", "agreement_with_teacher"} <= set(measured)
    assert all(row[metric] == pytest.approx(1) for row in predictions for metric in METRICS if metric in row)
    _, scores = scorer.score(answers([""] * 3))
    assert not any(scores.get(metric) for metric in METRICS)


@pytest.mark.parametrize("task", ["conversation", "qa"])
@pytest.mark.parametrize("name", [name for name in TEXTS if name != "emoji"])
def test_what_nobody_sees_changes_nothing(name: str, task: str) -> None:
    text = TEXTS[name]
    scorer = Scorer(get_task(task), rows_of(text), answers([text] * 3), 0)
    for marked in (f"\u200f{text}\u200e", f"\ufeff{text}", text[:1] + "\u2060" + text[1:]):
        _, scores = scorer.score(answers([marked] * 3))
        measured = {metric: scores[metric] for metric in METRICS if scores.get(metric) is not None}
        assert measured == pytest.approx(dict.fromkeys(measured, 1.0))


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.startswith(("one", "emoji", "punctuation"))])
def test_a_text_that_differs_in_part_lies_between(name: str) -> None:
    text = TEXTS[name]
    part = text[:-2]
    tokenizer = bleu_tokenizer([text])
    values = {**rouge(part, text), "chrf": sentence_chrf(part, text), "bleu": sentence_bleu(part, text, tokenizer)}
    assert all(0 < value < 1 for value in values.values()), values


@pytest.mark.parametrize("name", TEXTS)
def test_how_letters_are_composed_changes_nothing(name: str) -> None:
    text = TEXTS[name]
    apart = unicodedata.normalize("NFD", text)
    tokenizer = bleu_tokenizer([text])
    values = {**rouge(apart, text), "chrf": sentence_chrf(apart, text), "bleu": sentence_bleu(apart, text, tokenizer)}
    assert values == pytest.approx(dict.fromkeys(values, 1.0))


ASCII = st.text(st.characters(max_codepoint=127), max_size=60)
WORDS = ["the", "cats", "were", "running_to", "runs", "Houses", "house's", "3.5", "U.S.", "happily", "--", "?"]
ENGLISH = st.lists(st.sampled_from(WORDS)).map(" ".join)


@settings(deadline=None)
@given(st.one_of(ASCII, ENGLISH), st.one_of(ASCII, ENGLISH))
def test_on_ascii_rouge_is_the_librarys_own_row_by_row(text: str, reference: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    if not any(letter.isalnum() for letter in text + reference):
        return
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(reference, text)
    assert rouge(text, reference) == {name: score.fmeasure for name, score in library.items()}


def test_words_are_those_of_the_script() -> None:
    assert words("Ｆｕｌｌ　width, ÉTÉ naïve") == ["full", "width", "été", "naïve"]
    assert words("महाराष्ट्राची राजधानी") == ["महाराष्ट्राची", "राजधानी"]
    assert words("東京でBERTを3回") == ["東", "京", "で", "bert", "を", "3", "回"]
    assert words("ที่กรุง") == ["ที่", "ก", "รุ", "ง"]
    assert words("می\u200cخواهم") == ["میخواهم"]
    assert words("Danke! 👍🏽 (top)") == ["danke", "👍", "top"]
    assert words("...") == [".", ".", "."]
    assert words(" \u200b") == words("") == []
    assert pieces("two words 东京") == ["two", "words", "东", "京"]


@pytest.mark.parametrize(
    ("names", "tokenizer"),
    [
        (["french", "russian", "arabic", "marathi", "emoji", "punctuation"], "13a"),
        (["chinese"], "zh"),
        (["chinese", "french"], "zh"),
        (["thai"], "char"),
        (["chinese", "thai"], "char"),
        ([], "13a"),
    ],
)
def test_the_references_choose_bleus_tokenizer(names: list[str], tokenizer: str) -> None:
    assert bleu_tokenizer(TEXTS[name] for name in names) == tokenizer


@pytest.mark.parametrize(("name", "mecab"), [("japanese", "ja-mecab"), ("korean", "ko-mecab")])
def test_mecab_is_used_where_it_is_installed(name: str, mecab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec, tokenizer in ((None, "char"), (object(), mecab)):
        monkeypatch.setattr("text_metrics.find_spec", lambda _, spec=spec: spec)
        assert bleu_tokenizer([TEXTS[name]]) == tokenizer


def test_marks_that_part_words_part_them() -> None:
    assert pieces(normal("བོད་ཀྱི་སྐད།")) == ["བོད", "ཀྱི", "སྐད"]
    assert pieces("ሰላም፡ለዓለም") == ["ሰላም", "ለዓለም"]
    assert token_f1("བོད་ཀྱི་ཡིག", "བོད་ཀྱི་སྐད") == pytest.approx(2 / 3)
    assert sentence_bleu("བོད་ཀྱི་སྐད་ཡིག་ཡག", "བོད་ཀྱི་སྐད་ཡིག་ནི") > 0.5
    row = make_row([{"role": "user", "content": "Summarise."}])
    assert get_task("summarization").check(row, TEXTS["tibetan"], max_words=5) == "too_long"


def test_short_answers_are_compared_in_one_width() -> None:
    qa = get_task("qa")
    assert qa.correct("ＢＥＲＴ　１２", "BERT 12") is True
    assert normal("ｺﾝﾋﾟｭｰﾀｰ") == normal("コンピューター")
    assert token_f1("１２３", "123") == 1
    row = make_row([{"role": "user", "content": "Which?\n(A) one\n(B) two"}])
    assert qa.parse("Ｂ", row) == qa.parse("（Ｂ）", row) == qa.reference("[B]", row) == "B"


def test_a_corpus_that_shares_nothing_with_some_of_its_references_has_an_interval() -> None:
    value, (low, high) = corpus_chrf(["yes", *["q"] * 30], ["yes it is", *["other thing"] * 30], 1000)
    assert 0 == low < value < high < 1


@pytest.mark.parametrize("tokenizer", ["13a", "zh"])
def test_values_and_intervals_of_a_corpus_are_sacrebleus(tokenizer: str) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    texts = ["the cat sat on the mat", "a dog barked", "今天天气好", "it rained all day long"]
    gold = ["the cat sat on a mat", "the dog barked loudly", "今天天气非常好", "it rained for days on end"]
    for found, metric in (
        (corpus_bleu(texts, gold, 1000, tokenizer), BLEU(tokenize=tokenizer)),
        (corpus_chrf(texts, gold, 1000), CHRF()),
    ):
        score = metric.corpus_score(texts, [gold], n_bootstrap=1000)
        bounds = [max(0.0, (score._mean - score._ci) / 100), min(1.0, (score._mean + score._ci) / 100)]
        assert found[0] == pytest.approx(score.score / 100)
        assert found[1] == pytest.approx(bounds, abs=1e-5)


def test_answers_shorter_than_their_references_have_the_bleu_that_sacrebleu_gives_them() -> None:
    assert corpus_bleu(["yes"] * 3, ["yes it is so"] * 3, 10)[0] == 0


def test_all_models_are_scored_with_the_tokenizer_of_the_references() -> None:
    scorer = Scorer(get_task("conversation"), rows_of(TEXTS["chinese"]), None, 0)
    found = [scorer.score(answers([text] * 3))[1] for text in (TEXTS["chinese"], "an English answer", "")]
    assert {scores["bleu_tokenizer"] for scores in found} == {"zh"}


def test_one_changed_word_of_chinese_costs_a_part_of_bleu_and_not_all_of_it() -> None:
    text = TEXTS["chinese"]
    assert 0.5 < corpus_bleu([text.replace("公园", "商店")], [text], 100, "zh")[0] < 1


def test_texts_shorter_than_four_words_have_a_bleu() -> None:
    assert corpus_bleu(["Bonne idée"] * 3, ["Bonne idée"] * 3, 100)[0] == pytest.approx(1)


def test_short_answers_are_compared_without_the_punctuation_of_their_script() -> None:
    assert normal("The U.S.A.") == "usa"
    assert normal("巴黎。") == normal("「巴黎」") == "巴黎"
    assert squash("पेरिस।") == squash("पेरिस")
    assert squash("¿París?") == squash("París")
    assert get_task("qa").correct("巴黎。", "巴黎") is True


def test_what_is_all_punctuation_or_article_equals_itself_alone() -> None:
    assert normal("A") != normal("")
    assert normal("?!") != normal("...")
    assert squash("?!") != squash("...")
    assert (token_f1("", "A"), token_f1("!", "?"), token_f1("!", "!")) == (0, 0, 1)


def test_a_choice_that_is_an_article_is_not_matched_by_silence() -> None:
    row = make_row([{"role": "user", "content": "Which?\n(A) one\n(B) two"}], "A")
    _, scores = Scorer(get_task("qa"), [row], None, 0).score(answers(["who knows"]))
    assert (scores["exact_match"], scores["token_f1"]) == (0, 0)


def test_words_without_blanks_are_shared_letter_by_letter() -> None:
    assert token_f1("法国巴黎", "巴黎") == pytest.approx(2 / 3)
    assert token_f1("The Danube river", "danube") == pytest.approx(2 / 3)


def test_an_answer_around_the_gold_one_does_not_contradict_it_in_any_script() -> None:
    qa = get_task("qa")
    assert qa.contradicts("是巴黎", "巴黎") is False
    assert qa.contradicts("伦敦", "巴黎") is True
    assert qa.contradicts("ती मुंबई आहे", "मुंबई") is False


def test_responses_are_limited_in_words_where_no_blanks_part_them() -> None:
    row = make_row([{"role": "user", "content": "Summarise."}])
    assert get_task("summarization").check(row, TEXTS["chinese"], max_words=5) == "too_long"
    assert get_task("summarization").check(row, TEXTS["french"], max_words=7) is None


def test_rows_whose_gold_answer_cannot_be_verified_are_left_out_and_counted() -> None:
    prompt = [{"role": "user", "content": "Which?"}]
    rows = [make_row(prompt, gold) for gold in ("2", "\\sqrt{2}", "3")]
    predictions, scores = Scorer(get_task("math"), rows, None, 0).score(answers(["2", "2", "2"]))
    assert (scores["accuracy"], scores["rows"], scores["unverified"]) == (0.5, 3, 1)
    assert [row["correct"] for row in predictions] == [True, None, False]
