"""Positions, attention and transformer, by hand and against NumPy in float64."""

import math

import numpy as np
import pytest
import torch

import numpy_ktnet as reference
from ktnet_lite.data.batching import Padded
from ktnet_lite.model.fast import Dropout
from ktnet_lite.model.layers import Attention, Positions, Transformer, TransformerLayer, sinusoidal_positions
from small import shaken


def test_positions_by_hand():
    expected = [[0, 1, 0, 1], [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]]
    torch.testing.assert_close(sinusoidal_positions(2, 4), torch.tensor(expected))


@pytest.mark.parametrize("dim", [1, 5, 8])
def test_positions_against_numpy(dim):
    np.testing.assert_allclose(sinusoidal_positions(50, dim), reference.positions(50, dim), atol=1e-5)


def test_positions_scale_by_sqrt_d_and_grow_with_the_stream():
    module = Positions(4)
    assert not module.state_dict()  # checkpoints do not hold the table, so its size is free
    x = torch.randn(2, 300, 4)
    expected = 2 * x + torch.from_numpy(reference.positions(300, 4)).float()
    torch.testing.assert_close(module(x), expected, rtol=0, atol=5e-5)
    torch.testing.assert_close(module(x[:, :3]), expected[:, :3])


def plain_attention(heads: int) -> Attention:
    """Set all projections to the identity."""
    attention = Attention(2, heads)
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.eye(2).repeat(3, 1))
        attention.out.weight.copy_(torch.eye(2))
        attention.out.bias.zero_()
    return attention


SOURCE = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])


def test_one_head_by_hand():
    # q k / sqrt(2) is ln 3 for the first source step and 0 for the second: weights 3/4 and 1/4 of the values
    target = torch.tensor([[[math.sqrt(2) * math.log(3), 0.0]]])
    attention = plain_attention(1)
    torch.testing.assert_close(attention(target, SOURCE), torch.tensor([[[0.75, 0.25]]]))
    torch.testing.assert_close(attention.weights(target, SOURCE), torch.tensor([[[[0.75, 0.25]]]]))


def test_two_heads_by_hand():
    # d_k is 1: the weights of the first head are 3/4 and 1/4; the second has query 0, so uniform weights
    target = torch.tensor([[[math.log(3), 0.0]]])
    attention = plain_attention(2)
    torch.testing.assert_close(attention(target, SOURCE), torch.tensor([[[0.75, 0.5]]]))
    torch.testing.assert_close(attention.weights(target, SOURCE), torch.tensor([[[[0.75, 0.25]], [[0.5, 0.5]]]]))


def test_a_masked_source_step_gets_no_weight():
    target, mask = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[True, False]])
    attention = plain_attention(1)
    torch.testing.assert_close(attention(target, SOURCE, mask), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    torch.testing.assert_close(attention.weights(target, SOURCE, mask), torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]))


def random_pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    torch.manual_seed(0)
    lengths = [4, 2, 6]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    return torch.randn(3, 5, 8), torch.randn(3, 6, 8), mask, lengths


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_attention_against_numpy(heads):
    attention = shaken(Attention(8, heads))
    w = reference.weights_of(attention)
    target, source, mask, lengths = random_pair()
    attended, weights = attention(target, source, mask).detach(), attention.weights(target, source, mask).detach()
    own, own_weights = attention(target).detach(), attention.weights(target).detach()
    for i, length in enumerate(lengths):
        x, keys = target[i].double().numpy(), source[i, :length].double().numpy()
        expected = reference.attention(x, keys, w, heads)
        np.testing.assert_allclose(attended[i], expected[0], atol=1e-5)
        np.testing.assert_allclose(weights[i, :, :, :length], expected[1], atol=1e-5)
        assert (weights[i, :, :, length:] == 0).all()
        expected = reference.attention(x, x, w, heads)
        np.testing.assert_allclose(own[i], expected[0], atol=1e-5)
        np.testing.assert_allclose(own_weights[i], expected[1], atol=1e-5)


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="width 10 is not a multiple of 4 heads"):
        Attention(10, 4)


@pytest.mark.parametrize("crossed", [False, True])
def test_transformer_layer_against_numpy(crossed):
    """Eq. (4): residuals around the attention and the feed-forward network, each after a norm."""
    layer = shaken(TransformerLayer(8, 2)).eval()
    w = reference.weights_of(layer)
    target, source, mask, lengths = random_pair()
    if not crossed:
        target = source
    result = layer(target, source if crossed else None, mask).detach()
    for i, length in enumerate(lengths):
        keys = source[i, :length].double().numpy()
        x = target[i].double().numpy() if crossed else keys
        expected = reference.transformer_layer(x, keys if crossed else None, w, 2)
        np.testing.assert_allclose(result[i, : len(expected)], expected, atol=1e-5)


def test_without_attention_and_feed_forward_a_layer_is_the_residual_alone():
    layer = TransformerLayer(8, 2)
    for linear in (layer.attention.out, layer.feed_forward[2]):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    x = torch.randn(2, 3, 8)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("crossed", [False, True])
def test_transformer_against_numpy(crossed):
    stack = shaken(Transformer(8, 2, 3)).eval()
    w = reference.weights_of(stack)
    target, source, mask, lengths = random_pair()
    inputs = (Padded(target), Padded(source, mask)) if crossed else (Padded(source, mask),)
    result = stack(*inputs)
    maps = stack.attention_weights(*inputs)
    assert result.mask is inputs[0].mask
    assert len(maps) == 3
    for i, length in enumerate(lengths):
        keys = source[i, :length].double().numpy()
        x = target[i].double().numpy() if crossed else keys
        expected = reference.transformer(x, keys if crossed else None, w, 2)
        np.testing.assert_allclose(result.values[i, : len(expected)].detach(), expected, atol=1e-5)
        for n, weights in enumerate(maps):  # (B, h, T, S) of each layer
            layer = reference.part(w, f"layers.{n}")
            norm = reference.part(layer, "attention_norm")
            normed, sources = reference.layer_norm(x, norm), reference.layer_norm(keys if crossed else x, norm)
            expected = reference.attention(normed, sources, reference.part(layer, "attention"), 2)[1]
            np.testing.assert_allclose(weights[i, :, : len(x), :length], expected, atol=1e-5)
            x = reference.transformer_layer(x, keys if crossed else None, layer, 2)


def test_dropout_acts_only_in_training():
    layer = shaken(TransformerLayer(8, 2, dropout=0.5))
    x = torch.randn(2, 3, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_dropout_keeps_the_right_share_at_the_right_scale():
    torch.manual_seed(0)
    dropout, x = Dropout(0.25), torch.full((80_003,), 3.0, requires_grad=True)
    dropped = dropout(x)
    assert set(dropped.tolist()) == {0.0, 4.0}  # 3 / (1 - p)
    share = (dropped != 0)[:80_000].view(-1, 8).float().mean(0)  # for each byte of a random word
    torch.testing.assert_close(share, torch.full((8,), 0.75), rtol=0, atol=0.02)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach() / 3)
    assert not torch.equal(dropout(x), dropped)
    assert torch.equal(Dropout(0.0)(x), x) and torch.equal(dropout.eval()(x), x)


def test_dropout_rounds_p_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = Dropout(0.1)(torch.ones(200_000))  # 230 of 256 are kept
    assert dropped.max() == pytest.approx(256 / 230)
    assert dropped.mean() == pytest.approx(1, abs=3e-3)
    assert Dropout(0.9999)(torch.ones(4096)).isfinite().all()
