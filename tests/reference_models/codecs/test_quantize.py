"""Vector quantisation against brute force."""

import pytest
import torch

from reference_models.codecs.quantize import FactorizedVQ, ResidualVQ


@pytest.fixture
def vq():
    torch.manual_seed(0)
    return FactorizedVQ(dim=12, codebook_size=40, codebook_dim=4, commitment=0.15)


def brute_force(vq, x):
    """Highest cosine, one step and one code at a time."""
    latents = vq.in_project(x)
    codes = torch.zeros(x.shape[0], x.shape[2], dtype=torch.long)
    for b in range(x.shape[0]):
        for t in range(x.shape[2]):
            cosines = [torch.cosine_similarity(latents[b, :, t], code, dim=0).item() for code in vq.codebook.weight]
            codes[b, t] = max(range(len(cosines)), key=cosines.__getitem__)
    return codes


def test_codes_are_those_of_the_highest_cosine(vq):
    x = torch.randn(2, 12, 7)
    codes = vq(x).codes
    assert torch.equal(codes, brute_force(vq, x))
    assert len(codes.unique()) > 3


def test_the_length_of_a_code_vector_does_not_attract_but_is_kept_in_the_embedding(vq):
    x = torch.randn(1, 12, 5)
    before = vq(x)
    with torch.no_grad():
        vq.codebook.weight.mul_(3.0)
    after = vq(x)
    assert torch.equal(before.codes, after.codes)
    bias = vq.out_project.bias[:, None]
    assert torch.allclose(after.embeddings - bias, 3 * (before.embeddings - bias), atol=1e-5)


def test_embeddings_of_codes_are_those_of_the_quantiser(vq):
    found = vq(torch.randn(2, 12, 7))
    assert torch.allclose(vq.embed(found.codes), found.embeddings, atol=1e-6)


def test_loss_and_its_two_gradients(vq):
    x = torch.randn(2, 12, 7)
    found = vq(x)
    latents = vq.in_project(x)
    error = (latents - vq.codebook(found.codes).transpose(1, 2)).square().mean()
    assert found.loss.item() == pytest.approx(1.15 * error.item(), rel=1e-5)
    found.loss.backward()
    rows = found.codes.unique()
    moved = vq.codebook.weight.grad.abs().sum(-1).nonzero().flatten()
    assert torch.equal(moved, rows)  # only chosen codes learn
    encoder_grad = vq.in_project.bias.grad.clone()
    vq.zero_grad()
    (0.15 * (latents - vq.codebook(found.codes).transpose(1, 2).detach()).square().mean()).backward()
    assert torch.allclose(encoder_grad, vq.in_project.bias.grad, atol=1e-7)


def test_gradients_pass_straight_through(vq):
    x = torch.randn(1, 12, 3, requires_grad=True)
    vq(x).embeddings.sum().backward()
    expected = torch.autograd.grad(vq.out_project(vq.in_project(x)).sum(), x)[0]
    assert torch.allclose(x.grad, expected, atol=1e-6)


def test_residual_stack_codes_what_is_left_over():
    torch.manual_seed(1)
    stack = ResidualVQ(12, 3, 16, 4, commitment=0.25)
    x = torch.randn(2, 12, 5)
    found = stack(x)
    left = x
    for book, vq in enumerate(stack.quantizers):
        assert torch.equal(found.codes[..., book], brute_force(vq, left))
        left = left - vq.embed(found.codes[..., book])
    assert torch.allclose(found.embeddings, x - left, atol=1e-5)
    assert torch.allclose(stack.embed(found.codes), found.embeddings, atol=1e-5)


def test_first_quantisers_only():
    torch.manual_seed(2)
    stack = ResidualVQ(12, 4, 16, 4, commitment=0.25)
    x = torch.randn(1, 12, 5)
    every, two = stack(x), stack(x, 2)
    assert torch.equal(two.codes, every.codes[..., :2])
    assert torch.allclose(two.embeddings, stack.embed(every.codes, 2), atol=1e-6)
    assert torch.equal(stack.embed(every.codes, 2), stack.embed(every.codes[..., :2]))
    assert not torch.allclose(two.embeddings, every.embeddings)


def test_more_codebooks_than_quantisers_are_refused():
    stack = ResidualVQ(12, 2, 16, 4, commitment=0.25)
    with pytest.raises(IndexError):
        stack.embed(torch.zeros(1, 5, 3, dtype=torch.long))
