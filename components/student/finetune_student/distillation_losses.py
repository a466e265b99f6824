"""What a student minimises, summed over the tokens to be learnt (N of them, V words in the vocabulary).

- cross entropy with the tokens of the teacher's text;
- Kullback-Leibler divergence from the teacher's distribution, of which the k likeliest tokens are stored and all
  others form one more outcome, the tail (so nothing is renormalised, and the loss is not biased towards the top).
  Both sides are softened by the temperature T; the factor T^2 keeps gradients at the size they have at T = 1
  (Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Teacher:
    """Stored distributions of N tokens: ``ids`` (N x k), ``logprobs`` (N x k, at T = 1), ``tails`` (N, at T)."""

    ids: Tensor
    logprobs: Tensor
    tails: Tensor


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over tokens of ``-log p(target)``; 0 (with a gradient of 0) where there are no tokens."""
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def soft_divergence(logits: Tensor, teacher: Teacher, temperature: float = 1.0) -> Tensor:
    """Sum over tokens of ``T^2 KL(teacher || student)`` on k + 1 outcomes, both softened by ``temperature``."""
    top, tail = soften(teacher, temperature)
    return temperature**2 * _BucketDivergence.apply(logits, teacher.ids, top, tail, temperature)


def soften(teacher: Teacher, temperature: float) -> tuple[Tensor, Tensor]:
    """The teacher's log-probabilities at ``temperature``: of the top k (N x k), and of the tail as a whole (N)."""
    top = teacher.logprobs.float() / temperature
    tail = teacher.tails.float()
    total = torch.logaddexp(torch.logsumexp(top, dim=-1), tail)
    return top - total.unsqueeze(-1), tail - total


def mixed(logits: Tensor, targets: Tensor, teacher: Teacher, *, temperature: float, alpha: float) -> Tensor:
    """``(1 - alpha) * cross entropy + alpha * soft divergence``, summed over tokens."""
    hard = cross_entropy(logits, targets) if alpha < 1 else logits.sum() * 0
    soft = soft_divergence(logits, teacher, temperature) if alpha > 0 else logits.sum() * 0
    return (1 - alpha) * hard + alpha * soft


class _BucketDivergence(torch.autograd.Function):
    """KL over the top k and the tail. The gradient is made in the forward pass, from one N x V buffer.

    With q the student's softened distribution: d/dz_i = (q_i - p_i) / T in the top k, and q_i (1 - p_tail / q_tail) / T
    in the tail.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ids: Tensor, top: Tensor, tail: Tensor, temperature: float) -> Tensor:
        index = ids.long()
        log_q = torch.log_softmax(logits.float() / temperature, dim=-1)
        log_q_top = log_q.gather(-1, index)
        q = log_q.exp_()
        q_top = log_q_top.exp()
        # Summed over the tail itself: 1 - sum(top) would lose all digits where the top holds nearly everything.
        q_tail = q.scatter(-1, index, 0.0).sum(-1).clamp_min(torch.finfo(torch.float32).tiny)
        p_top, p_tail = top.exp(), tail.exp()
        has_tail = p_tail > 0
        tail_term = torch.where(has_tail, p_tail * (tail.masked_fill(~has_tail, 0.0) - q_tail.log()), 0.0)
        # A token that the teacher rules out (a log-probability of -inf) adds nothing, as 0 log 0 is 0.
        top_term = torch.where(p_top > 0, p_top * (top.masked_fill(p_top == 0, 0.0) - log_q_top), 0.0)
        loss = top_term.sum() + tail_term.sum()
        grad = q.mul_((1 - p_tail / q_tail).unsqueeze(-1)).scatter_(-1, index, q_top - p_top).div_(temperature)
        ctx.save_for_backward(grad.to(logits.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0], None, None, None, None
