"""The reference for tests: KTNet's forward pass in plain NumPy, float64, one unpadded clip at a time.

It is written from the equations, uses loops where the package has none, and shares no code with the package.
"""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]


def weights_of(module) -> Weights:
    """Return a module's state_dict in float64."""
    return {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}


def part(weights: Weights, name: str) -> Weights:
    """Select the weights of one submodule."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(name + ".")}


def positions(steps: int, dim: int) -> np.ndarray:
    table = np.zeros((steps, dim))
    for t in range(steps):
        for i in range(dim):
            angle = t / 10000 ** ((i - i % 2) / dim)
            table[t, i] = math.cos(angle) if i % 2 else math.sin(angle)
    return table


def linear(x: np.ndarray, w: Weights) -> np.ndarray:
    return x @ w["weight"].T + w.get("bias", 0.0)


def layer_norm(x: np.ndarray, w: Weights) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w["weight"] + w["bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    exponential = np.exp(x - x.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def attention(
    target: np.ndarray, source: np.ndarray, w: Weights, heads: int, bias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Eq. (3): (T, d) and (S, d) -> attended steps (T, d) and weights (h, T, S); a bias (S,) is added to the scores."""
    dim = target.shape[1]
    q, k, v = (
        x @ w["qkv.weight"][i * dim : (i + 1) * dim].T + w["qkv.bias"][i * dim : (i + 1) * dim]
        for i, x in enumerate((target, source, source))
    )
    width, attended, weights = dim // heads, [], []
    for h in range(heads):
        columns = slice(h * width, (h + 1) * width)
        scores = q[:, columns] @ k[:, columns].T / math.sqrt(width)
        weights.append(softmax(scores if bias is None else scores + bias))
        attended.append(weights[-1] @ v[:, columns])
    return linear(np.concatenate(attended, axis=1), part(w, "out")), np.array(weights)


def transformer_layer(
    x: np.ndarray, source: np.ndarray | None, w: Weights, heads: int, bias: np.ndarray | None = None
) -> np.ndarray:
    """Eq. (4), m' = m' + Z'_m, then a feed-forward network with its own residual."""
    normed = layer_norm(x, part(w, "attention_norm"))
    keys = normed if source is None else layer_norm(source, part(w, "attention_norm"))
    x = x + attention(normed, keys, part(w, "attention"), heads, bias)[0]
    hidden = np.maximum(linear(layer_norm(x, part(w, "feed_forward_norm")), part(w, "feed_forward.0")), 0)
    return x + linear(hidden, part(w, "feed_forward.2"))


def transformer(
    x: np.ndarray, source: np.ndarray | None, w: Weights, heads: int, bias: np.ndarray | None = None
) -> np.ndarray:
    for layer in sorted({int(key.split(".")[1]) for key in w if key.startswith("layers.")}):
        x = transformer_layer(x, source, part(w, f"layers.{layer}"), heads, bias)
    return layer_norm(x, part(w, "norm"))


def encoder(x: np.ndarray, w: Weights, heads: int) -> np.ndarray:
    return transformer(embedding(x, part(w, "embedding")), None, part(w, "transformer"), heads)


def embedding(x: np.ndarray, w: Weights) -> np.ndarray:
    x = (x - w["standardise.mean"]) / w["standardise.scale"]
    side = w["project.weight"].shape[1] // x.shape[1] // 2
    outside = np.zeros((side, x.shape[1]))  # the training mean
    padded = np.concatenate([outside, x, outside])
    windows = np.array([padded[t : t + 2 * side + 1].flatten() for t in range(len(x))])
    projected = linear(windows, part(w, "project"))
    dim = projected.shape[1]
    return projected * math.sqrt(dim) + positions(len(x), dim)


def transfer(x: np.ndarray, w: Weights, heads: int) -> np.ndarray:
    """theta or phi of Eq. (1)."""
    return linear(transformer(x, None, part(w, "transformer"), heads), part(w, "out"))


def believed(gaussian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (T, d) of a reconstruction with its doubt (T, 2d), and minus half its mean log-variance (T,)."""
    mean, log_variance = np.split(gaussian, 2, axis=1)
    return mean, -np.clip(log_variance, -6, 3).mean(1) / 2


def combine(
    parts: list[np.ndarray], w: Weights, heads: int, biases: list[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """delta of Eq. (2), [theta(f_V) || phi(f_L)], along features if there is a map back to d, else along time.

    With the biases (T_m,) of the parts, also that of each step of A'.
    """
    if "back.weight" in w:
        bias = None if biases is None else np.mean(biases, axis=0)
        joined = transformer(np.concatenate(parts, axis=1), None, part(w, "transformer"), heads, bias)
        return linear(joined, part(w, "back")), bias
    bias = None if biases is None else np.concatenate(biases)
    marked = [x + embedding for x, embedding in zip(parts, w["source_embedding"], strict=True)]
    return transformer(np.concatenate(marked), None, part(w, "transformer"), heads, bias), bias


def ktnet(
    clip: dict[str, np.ndarray], w: Weights, heads: int, targets: tuple[str, ...], pooling: str, doubt: str = ""
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Map one clip's observed streams, each (T_m, D_m), to flat logits, theta(f_V) and phi(f_L).

    ``doubt`` is "" for point reconstructions, else "bias" or "none". Without targets, the fusion is a bottleneck.
    """
    observed = [name for name in ("language", "vision", "audio") if f"encoders.{name}.embedding.project.weight" in w]
    features = {name: encoder(clip[name], part(w, f"encoders.{name}"), heads) for name in observed}
    reconstructed, bias = {}, None
    if any(key.startswith("transfer.") for key in w):
        reconstructed = {m: transfer(features[m], part(w, f"transfer.{m}"), heads) for m in observed}
        parts, biases = [reconstructed[m] for m in observed], None
        if doubt:
            parts, biases = map(list, zip(*map(believed, parts), strict=True))
        biases = biases if doubt == "bias" else None
        features["audio"], bias = combine(parts, part(w, "combine"), heads, biases)
    known = {"audio": bias}
    if not targets:
        return bottleneck(features, part(w, "fusion"), heads, known), reconstructed
    return fusion(features, part(w, "fusion"), heads, targets, pooling, known), reconstructed


def bottleneck(features: dict[str, np.ndarray], w: Weights, heads: int, biases: dict[str, np.ndarray]) -> np.ndarray:
    """Map streams f_m, each (T_m, d), to flat logits: latents read their stream, then mix, then are averaged."""
    names = [name for name in ("language", "vision", "audio") if name in features]
    read = [
        transformer(w[f"latents.{name}"], features[name], part(w, f"read.{name}"), heads, biases.get(name))
        for name in names
    ]
    mixed = transformer(np.concatenate(read), None, part(w, "mix"), heads)
    return head(np.concatenate([part_.mean(0) for part_ in np.split(mixed, len(names))]), part(w, "head"))


def head(joint: np.ndarray, w: Weights) -> np.ndarray:
    joint = joint + linear(np.maximum(linear(joint, part(w, "residual.0")), 0), part(w, "residual.3"))
    return linear(joint, part(w, "out"))


def fusion(
    features: dict[str, np.ndarray],
    w: Weights,
    heads: int,
    targets: tuple[str, ...],
    pooling: str,
    biases: dict[str, np.ndarray | None] | None = None,
) -> np.ndarray:
    """Map streams f_m, each (T_m, d), to flat logits: every pair, Eq. (3) and (4), the decoders, the head."""
    pooled, biases = [], biases or {}
    for target in targets:
        attended = [
            transformer(
                features[target],
                features[source],
                part(w, f"cross_modal.{source}_to_{target}"),
                heads,
                biases.get(source),
            )
            for source in ("language", "vision", "audio")
            if source in features and source != target
        ] or [features[target]]
        block = part(w, f"decoders.{target}")
        decoded = transformer(np.concatenate(attended, axis=1), None, block, heads, biases.get(target))
        pooled.append(decoded.mean(0) if pooling == "mean" else decoded[-1])
    return head(np.concatenate(pooled), part(w, "head"))
