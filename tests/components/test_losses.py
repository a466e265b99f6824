"""What the student minimises, against naive reference implementations. Each test names a fault it would catch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from common.step import BadConfig, BadData
from lazily import Lazily
from modelling.chat import Chat, Encoded
from modelling.examples import Example, make_examples
from modelling.logit_store import Distributions, LogitStore, LogitWriter
from tiny_models import CHATML, sums, tiny_model, tiny_tokenizer

torch = Lazily("torch")
losses = Lazily("distillation_losses")
sparse_head = Lazily("sparse_head")
student_trainer = Lazily("student_trainer")
teacher_scoring = Lazily("teacher_scoring")


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(tiny_tokenizer(CHATML))


@pytest.fixture(scope="module")
def examples(chat: Chat) -> list[Example]:
    found, _ = make_examples(sums(24), chat, target="response", every_turn=False, max_length=512)
    assert len({example.length for example in found}) > 5
    return found


def naive_buckets(logits: Any, teacher_logits: Any, ids: Any, temperature: float) -> Any:
    """KL over the top k and one tail, from full distributions, by autograd."""
    p, q = (torch.nn.functional.softmax(x.double() / temperature, dim=-1) for x in (teacher_logits, logits))
    p_top, q_top = p.gather(-1, ids), q.gather(-1, ids)
    p_all = torch.cat([p_top, 1 - p_top.sum(-1, keepdim=True)], dim=-1)
    q_all = torch.cat([q_top, 1 - q_top.sum(-1, keepdim=True)], dim=-1)
    return temperature**2 * (p_all * (p_all.log() - q_all.log())).sum()


def teacher_of(teacher_logits: Any, top_k: int, temperature: float) -> Any:
    ids, logprobs, tails = teacher_scoring.top_and_tails(teacher_logits, top_k, [temperature])
    # The store rounds log-probabilities to float16; the reference has none of that.
    exact = torch.log_softmax(teacher_logits.float(), -1).gather(-1, ids.long())
    assert torch.allclose(exact, logprobs.float(), atol=2e-2)
    return losses.Teacher(ids, exact, tails[:, 0])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0, 5.0])
def test_divergence_and_its_gradient_are_those_of_the_naive_form(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = (3 * torch.randn(11, 50, generator=generator)).requires_grad_()
    teacher_logits = 3 * torch.randn(11, 50, generator=generator)
    teacher = teacher_of(teacher_logits, 7, temperature)
    ours = losses.soft_divergence(logits, teacher, temperature)
    (grad,) = torch.autograd.grad(ours * 0.25, logits)
    reference = naive_buckets(logits, teacher_logits, teacher.ids.long(), temperature)
    (expected,) = torch.autograd.grad(reference * 0.25, logits)
    assert ours.item() == pytest.approx(reference.item(), rel=1e-5)
    assert torch.allclose(grad, expected, atol=1e-6)


def test_temperature_softens_the_teacher_exactly_from_the_stored_tail() -> None:
    teacher_logits = 4 * torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    top, tail = losses.soften(teacher_of(teacher_logits, 5, 3.0), 3.0)
    full = torch.softmax(teacher_logits / 3.0, -1)
    assert torch.allclose(top.exp(), full.topk(5).values, atol=1e-6)
    assert torch.allclose(tail.exp(), 1 - full.topk(5).values.sum(-1), atol=1e-6)


def test_tail_counts_a_student_that_matches_the_top_but_not_the_rest_is_not_perfect() -> None:
    teacher_logits = torch.zeros(1, 8)
    teacher = teacher_of(teacher_logits, 2, 1.0)
    student = torch.full((1, 8), -30.0)
    student[0, teacher.ids[0].long()] = 0.0
    assert losses.soft_divergence(torch.zeros(1, 8), teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.soft_divergence(student, teacher).item() > 1


def test_with_every_token_stored_it_is_the_full_divergence() -> None:
    generator = torch.Generator().manual_seed(5)
    logits, teacher_logits = torch.randn(4, 9, generator=generator), torch.randn(4, 9, generator=generator)
    full = torch.nn.functional.kl_div(
        torch.log_softmax(logits, -1), torch.log_softmax(teacher_logits, -1), log_target=True, reduction="sum"
    )
    teacher = teacher_of(teacher_logits, 9, 1.0)
    assert torch.isneginf(teacher.tails).all()
    assert losses.soft_divergence(logits, teacher).item() == pytest.approx(full.item(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_tokens_that_the_teacher_rules_out_add_nothing(temperature: float) -> None:
    teacher_logits = torch.randn(3, 12)
    teacher_logits[:, 4:] = float("-inf")
    some, more = (teacher_of(teacher_logits, top_k, temperature) for top_k in (4, 9))
    assert torch.isneginf(more.logprobs).any()
    logits = torch.randn(3, 12, requires_grad=True)
    found = []
    for teacher in (some, more):
        loss = losses.soft_divergence(logits, teacher, temperature)
        found.append((loss.item(), *torch.autograd.grad(loss, logits)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert torch.allclose(found[1][1], found[0][1], atol=1e-6)


def test_a_student_that_is_sure_gives_finite_loss_and_gradient() -> None:
    logits = torch.zeros(2, 30)
    logits[:, 0] = 200.0
    logits.requires_grad_()
    loss = losses.soft_divergence(logits, teacher_of(torch.randn(2, 30), 3, 1.0), 1.0)
    (grad,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_mixes_text_and_distribution(alpha: float) -> None:
    logits, targets = torch.randn(5, 12), torch.tensor([1, 2, 3, 4, 5])
    teacher = teacher_of(torch.randn(5, 12), 4, 2.0)
    ours = losses.mixed(logits, targets, teacher, temperature=2.0, alpha=alpha)
    text, distribution = losses.cross_entropy(logits, targets), losses.soft_divergence(logits, teacher, 2.0)
    parts = (1 - alpha) * text + alpha * distribution
    assert ours.item() == pytest.approx(parts.item(), rel=1e-6)


# -- the trainer -------------------------------------------------------------------------------------------------------


def make_trainer(folder: Path, rows: list[Example], chat: Chat, model: Any = None, **settings: Any) -> Any:
    from transformers import TrainingArguments

    objective = settings.pop("objective", student_trainer.Objective())
    options = {"per_device_train_batch_size": 8, "max_steps": 1, "learning_rate": 1e-2, "seed": 5} | settings
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        remove_unused_columns=False, optim="sgd", max_grad_norm=0, lr_scheduler_type="constant", **options,
    )  # fmt: skip
    return student_trainer.StudentTrainer(
        model=model or tiny_model(), args=arguments, train_dataset=rows, eval_dataset=rows, objective=objective,
        data_collator=student_trainer.Collator(chat.pad_id, objective.store),
    )  # fmt: skip


def test_loss_and_gradient_on_a_padded_batch_are_those_of_the_library(
    tmp_path: Path, chat: Chat, examples: list[Example]
) -> None:
    ours, theirs = tiny_model(), tiny_model()
    trainer = make_trainer(tmp_path, examples, chat, ours)
    assert trainer.head.split
    batch = student_trainer.Collator(chat.pad_id)(examples[:8])
    assert (batch["attention_mask"] == 0).any()
    trainer.compute_loss(ours, batch).backward()
    loss = theirs(**batch).loss
    loss.backward()
    assert trainer.compute_loss(ours, batch).item() == pytest.approx(loss.item(), rel=1e-6)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_accumulated_steps_weigh_every_token_alike(tmp_path: Path, chat: Chat, examples: list[Example]) -> None:
    rows = examples[:8]
    assert len({row.encoded.targets for row in rows}) > 1
    together, apart = tiny_model(), tiny_model()
    make_trainer(tmp_path, rows, chat, together).train()
    make_trainer(tmp_path, rows, chat, apart, per_device_train_batch_size=2, gradient_accumulation_steps=4).train()
    start = tiny_model()
    moved = 0.0
    for one, other, before in zip(together.parameters(), apart.parameters(), start.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        moved += float((one - before).abs().sum())
    assert moved > 0.01


def test_a_batch_without_anything_to_learn_is_worth_nothing(
    tmp_path: Path, chat: Chat, examples: list[Example]
) -> None:
    model = tiny_model()
    trainer = make_trainer(tmp_path, examples, chat, model)
    batch = student_trainer.Collator(chat.pad_id)(examples[:2])
    batch["labels"].fill_(student_trainer.IGNORED)
    loss = trainer.compute_loss(model, batch, num_items_in_batch=torch.tensor(0))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_validation_weighs_every_token_alike(tmp_path: Path, chat: Chat, examples: list[Example]) -> None:
    model = tiny_model()
    total, count = 0.0, 0
    for example in examples:
        batch = student_trainer.Collator(chat.pad_id)([example])
        with torch.no_grad():
            total += model(**batch).loss.item() * example.encoded.targets
        count += example.encoded.targets
    found = make_trainer(tmp_path, examples, chat, model, per_device_eval_batch_size=5).evaluate()
    assert found["eval_loss"] == pytest.approx(total / count, rel=1e-5)


def test_every_row_comes_once_per_epoch_in_an_order_of_seed_and_epoch_alone() -> None:
    lengths = [(7 * number) % 40 for number in range(101)]
    buckets = student_trainer.LengthBuckets(lengths, 8, 1)
    first = list(buckets)
    assert sorted(first) == list(range(101))
    assert list(buckets) == first
    buckets.set_epoch(1)
    second = list(buckets)
    assert sorted(second) == list(range(101))
    assert second != first
    buckets.set_epoch(0)
    assert list(buckets) == first
    padding = sum(max(lengths[row] for row in first[at : at + 8]) * 8 for at in range(0, 96, 8)) / sum(lengths)
    assert padding < 1.2


# -- stored distributions ----------------------------------------------------------------------------------------------


def stored_by(teacher: Any, rows: list[Example], folder: Path, *, vocabulary: int = 268, batch: int = 5) -> LogitStore:
    writer = LogitWriter(folder, teacher="t", top_k=32, vocabulary=vocabulary, temperatures=[1.0, 2.0])
    teacher_scoring.score(teacher, rows, writer, 0, batch, 32, [1.0, 2.0], vocabulary)
    writer.close()
    return LogitStore(folder, 2.0)


def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(
    tmp_path: Path, chat: Chat, examples: list[Example]
) -> None:
    """Catches a mask without the causal shift, rows in another order than their distributions, and a wrong tail."""
    model = tiny_model()
    store = stored_by(model, examples, tmp_path / "logits")
    objective = student_trainer.Objective(2.0, 1.0, store, 268)
    trainer = make_trainer(tmp_path, examples, chat, model, objective=objective)
    for order in (examples, examples[::-1], examples[::3] + examples[1::3]):
        total, _, count = trainer.summed_loss(model, student_trainer.Collator(chat.pad_id, store)(order[:7]))
        assert total.item() / count < 1e-4
    other = tiny_model(seed=9)
    strange = make_trainer(tmp_path, examples, chat, other, objective=objective)
    total, _, count = strange.summed_loss(other, student_trainer.Collator(chat.pad_id, store)(examples[:7]))
    assert total.item() / count > 0.05


def test_distributions_follow_their_rows_through_shuffled_training(
    tmp_path: Path, chat: Chat, examples: list[Example]
) -> None:
    teacher = tiny_model(seed=2)
    store = stored_by(teacher, examples, tmp_path / "logits")
    student = tiny_model(seed=2)
    make_trainer(
        tmp_path,
        examples,
        chat,
        student,
        objective=student_trainer.Objective(2.0, 1.0, store, 268),
        max_steps=6,
        learning_rate=0.1,
    ).train()
    for one, other in zip(student.parameters(), teacher.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3), "a student equal to its teacher was moved"


def test_columns_beyond_the_vocabulary_do_not_count(tmp_path: Path, chat: Chat, examples: list[Example]) -> None:
    narrow, wide = tiny_model(268), tiny_model(300)
    with torch.no_grad():
        for (name, one), other in zip(wide.named_parameters(), narrow.parameters(), strict=True):
            if "embed" in name:
                one[:268] = other
                one[268:] = 3.0
            else:
                one.copy_(other)
    store = stored_by(wide, examples, tmp_path / "wide")
    for model in (narrow, wide):
        trainer = make_trainer(
            tmp_path, examples, chat, model, objective=student_trainer.Objective(2.0, 1.0, store, 268)
        )
        total, _, count = trainer.summed_loss(model, student_trainer.Collator(chat.pad_id, store)(examples[:6]))
        assert total.item() / count < 1e-4


def test_distributions_of_other_tokens_are_refused(tmp_path: Path, examples: list[Example]) -> None:
    store = stored_by(tiny_model(), examples[:3], tmp_path)
    ids = list(examples[0].encoded.ids)
    assert len(store.get(examples[0].row_id, ids).ids) == examples[0].encoded.targets
    with pytest.raises(BadData, match="other tokens"):
        store.get(examples[0].row_id, [*ids[:-2], ids[-1], ids[-2]])
    with pytest.raises(BadData, match="no stored logits"):
        store.get("0" * 16, ids)
    with pytest.raises(BadConfig, match=r"temperatures 1, 2, not for 1\.5"):
        LogitStore(tmp_path, 1.5)


def test_fewer_distributions_than_tokens_to_learn_are_refused(tmp_path: Path, examples: list[Example]) -> None:
    example = examples[0]
    writer = LogitWriter(tmp_path, teacher="t", top_k=2, vocabulary=268, temperatures=[1.0])
    one = torch.zeros(1, 2)
    writer.add(example.row_id, example.encoded.ids, Distributions(one.int().numpy(), one.numpy(), one[:, :1].numpy()))
    writer.close()
    with pytest.raises(BadData, match="tokens to learn"):
        student_trainer.Collator(0, LogitStore(tmp_path, 1.0))([example])


# -- the output layer --------------------------------------------------------------------------------------------------


def test_models_that_scale_or_cap_their_logits_are_run_as_a_whole() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    head = sparse_head.Head(model)
    assert not head.split
    ids = torch.arange(10).unsqueeze(0)
    keep = torch.zeros(1, 10, dtype=torch.bool)
    keep[0, 4:7] = True
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(head.logits(model, inputs, keep), model(**inputs).logits[keep])


def test_an_example_never_learns_its_first_token() -> None:
    encoded = Encoded([1, 2, 3], [False, True, True])
    assert encoded.targets == 2
