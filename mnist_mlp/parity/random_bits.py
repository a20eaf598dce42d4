"""The random bits of JAX and TensorFlow in NumPy: the counter-based generators of Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3" (SC 2011), with each framework's numbering. They are the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PHILOX_FACTORS = (0xD2511F53, 0xCD9E8D57)
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
SCRAMBLE_KEY = (0x3EC8F720, 0x02461E29)  # TensorFlow derives a key and a counter from its two seeds with it
LOW = 0xFFFFFFFF


def threefry(key: Sequence[int], counters: np.ndarray) -> np.ndarray:
    """Return Threefry-2×32 with 20 rounds, uint32 [2, n], of counters uint32 [2, n] and a key of two uint32."""
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = counters.astype(np.uint32)
    x, y = x + np.uint32(keys[0]), y + np.uint32(keys[1])
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            x = x + y
            y = (y << np.uint32(turn) | y >> np.uint32(32 - turn)) ^ x
        x = x + np.uint32(keys[(group + 1) % 3])
        y = y + np.uint32((keys[(group + 2) % 3] + group + 1) & LOW)
    return np.stack([x, y])


def philox(key: Sequence[int], counters: np.ndarray) -> np.ndarray:
    """Return Philox-4×32 with 10 rounds, uint32 [4, n], of counters uint32 [4, n] and a key of two uint32."""
    a, b, c, d = counters.astype(np.uint64)  # 32 bits each; products need 64
    low, word = np.uint64(LOW), np.uint64(32)
    for turn in range(10):
        first, second = (np.uint64((k + turn * step) & LOW) for k, step in zip(key, PHILOX_KEY_STEPS, strict=True))
        left, right = a * np.uint64(PHILOX_FACTORS[0]), c * np.uint64(PHILOX_FACTORS[1])
        a, b, c, d = (right >> word) ^ b ^ first, right & low, (left >> word) ^ d ^ second, left & low
    return np.stack([a, b, c, d]).astype(np.uint32)


def jax_bits(seed: Sequence[int], n: int) -> np.ndarray:
    """Return `jax.random.bits` of a Threefry key with `jax_threefry_partitionable`, uint32 [n]."""
    x, y = threefry(seed, np.stack([np.zeros(n, np.uint32), np.arange(n, dtype=np.uint32)]))
    return x ^ y


def tensorflow_bits(seed: Sequence[int], n: int) -> np.ndarray:
    """Return `tf.random.stateless_uniform` over all uint32 with the Philox algorithm, uint32 [n]."""
    mixed = philox(SCRAMBLE_KEY, np.array([[seed[0]], [0], [seed[1]], [0]]))[:, 0].tolist()
    blocks = -(-n // 4)
    counters = np.zeros((4, blocks), np.uint64)
    counters[0] = np.arange(blocks)
    counters[2:] = np.array([mixed[2:]], np.uint64).T
    return philox(mixed[:2], counters).T.ravel()[:n]


BITS = {"jax": jax_bits, "tensorflow": tensorflow_bits}
