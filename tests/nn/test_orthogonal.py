"""Orthogonal updates of matrices."""

from __future__ import annotations

import pytest
import torch

from vireo.nn.orthogonal import OrthogonalUpdates, is_matrix, orthogonal


def test_an_update_has_singular_values_about_1() -> None:
    random = torch.Generator().manual_seed(0)
    for shape in ((8, 30), (30, 8), (12, 40)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=random)))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_a_kernel_of_a_convolution_moves_as_a_matrix() -> None:
    random = torch.Generator().manual_seed(1)
    gradient = torch.randn(6, 4, 3, 3, generator=random)
    kernel = torch.zeros(6, 4, 3, 3, requires_grad=True)
    kernel.grad = gradient.clone()
    OrthogonalUpdates([kernel], factor=5.0).step(0.01)
    assert kernel.grad is None  # Adam leaves it alone
    assert float((kernel.detach() * gradient).sum()) < 0
    values = torch.linalg.svdvals(kernel.detach().flatten(1))
    assert float(values.min()) > 0.5 * float(values.max())
    # As large as an update of Adam's, of 0.2 in the mean, at five times the rate.
    size = float(kernel.detach().square().mean().sqrt())
    assert size == pytest.approx(0.2 * 5.0 * 0.01, rel=0.3)


def test_biases_and_rows_are_no_matrices() -> None:
    shapes = (8,), (8, 1), (1, 8), (8, 4), (8, 4, 3, 3), (8, 1, 3, 3)
    assert [is_matrix(torch.zeros(shape)) for shape in shapes] == [False] * 3 + [True] * 3


def test_steps_go_on_from_a_state() -> None:
    random = torch.Generator().manual_seed(2)
    gradients = torch.randn(4, 5, 7, generator=random)

    def moved(split: int | None) -> torch.Tensor:
        matrix = torch.zeros(5, 7, requires_grad=True)
        updates = OrthogonalUpdates([matrix], 1.0)
        for step, gradient in enumerate(gradients):
            if step == split:
                state = updates.state_dict()
                updates = OrthogonalUpdates([matrix], 1.0)
                updates.load_state_dict(state)
            matrix.grad = gradient.clone()
            updates.step(0.1)
        return matrix.detach()

    assert torch.equal(moved(2), moved(None))
