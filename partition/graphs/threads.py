"""How many threads torch takes for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch on so many threads in the calling thread, then on as many as before.

    Threads of OpenMP wait for each other by spinning: on small layers, or where somebody else needs the
    cores, two of them take twice the processor time of one, and longer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
