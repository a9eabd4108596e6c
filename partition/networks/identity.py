"""The model hash: two parties whose hashes agree compute the same function."""

import hashlib

import numpy as np

from partition.graphs.graph import Graph
from partition.networks.zoo import Network
from partition.preprocessing import DEVIATION, MEAN

# Raise it when the meaning of a hash changes: old and new parties must not take each other for equals.
HASH_VERSION = 1
HASH_DIGITS = 16


def model_hash(network: Network, graph: Graph) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over graph, preprocessing and weights.

    It is the same in every process and on every processor. Entries in `network.derived` count with name,
    dtype and shape only: they follow from the rest, up to rounding.
    """
    digest = hashlib.sha256()
    digest.update(f"{HASH_VERSION} {network.input_shape} {MEAN} {DEVIATION}\n{graph.text}\n".encode())
    for name, tensor in sorted(network.module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if name not in network.derived:
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()[:HASH_DIGITS]
