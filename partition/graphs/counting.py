"""Work, counted where torch dispatches it: multiply-accumulates and calls, by kind.

Counting below the modules sees whatever a network does, also inside modules that the tracer does not
open. Nothing is typed in by hand. `torch.utils.flop_counter` is the cross-check in the tests.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from partition.graphs.work import (
    CONV_MACS,
    CONV_OPS,
    LINEAR_MACS,
    LINEAR_OPS,
    OTHER_ELEMENTS,
    OTHER_OPS,
    no_work,
)

_aten = torch.ops.aten
_PRODUCTS: Final = {
    # Which two arguments are multiplied; the last but one size of the second is the inner one.
    _aten.mm.default: (0, 1),
    _aten.bmm.default: (0, 1),
    _aten.addmm.default: (1, 2),
    _aten.baddbmm.default: (1, 2),
}
# Attention in one kernel: queries, keys and values come first.
_ATTENTION: Final = {
    _aten._scaled_dot_product_flash_attention_for_cpu.default,  # noqa: SLF001 - torch's names for them
    _aten._scaled_dot_product_flash_attention.default,  # noqa: SLF001
    _aten._scaled_dot_product_efficient_attention.default,  # noqa: SLF001
    _aten._scaled_dot_product_cudnn_attention.default,  # noqa: SLF001
}


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the base untyped
    """Adds up the work of every operation dispatched inside the context.

    Not to be used in inference mode: there torch dispatches whole layers, which have other names.

    Attributes:
        work: int64 (7,), in the order of `WORK_COLUMNS`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.work = no_work()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: nothing here is compiled, and yes imports the compiler, 100 MiB and a second."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        """Run the operation and count it."""
        result = func(*args, **(kwargs or {}))
        if func is _aten.convolution.default:
            self._convolution(args, result)
        elif func in _PRODUCTS:
            first, second = (args[position] for position in _PRODUCTS[func])
            self._add(LINEAR_MACS, LINEAR_OPS, first.numel() * second.shape[-1])
        elif func in {_aten.mv.default, _aten.dot.default}:
            self._add(LINEAR_MACS, LINEAR_OPS, args[0].numel())
        elif func in _ATTENTION:
            self._attention(*args[:3])
        elif func is _aten.mkldnn_rnn_layer.default:
            self._recurrence(*args[:3])
        elif not _is_view(func):
            tensors = [value for value in (*args, result) if isinstance(value, Tensor)]
            elements = max((tensor.numel() for tensor in tensors), default=0)
            # Batch normalisation dispatches an allocation of nothing; that is no operation.
            if elements:
                self._add(OTHER_ELEMENTS, OTHER_OPS, elements)
        return result

    def _convolution(self, args: tuple[Any, ...], result: Tensor) -> None:
        inputs, weight, transposed = args[0], args[1], args[6]
        # A transposed convolution spreads each input over the kernel; a plain one gathers for each output.
        points = inputs.numel() if transposed else result.numel()
        self._add(CONV_MACS, CONV_OPS, points * math.prod(weight.shape[1:]))

    def _attention(self, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        # Each query meets each key, and the weights of a query gather all values.
        pairs = math.prod(queries.shape[:-1]) * keys.shape[-2]
        self._add(LINEAR_MACS, LINEAR_OPS, pairs * (queries.shape[-1] + values.shape[-1]))

    def _recurrence(self, inputs: Tensor, of_input: Tensor, of_state: Tensor) -> None:
        # Every step of every sequence multiplies both matrices; torch's own counter misses this kernel.
        steps = math.prod(inputs.shape[:-1])
        self._add(LINEAR_MACS, LINEAR_OPS, steps * (of_input.numel() + of_state.numel()))

    def _add(self, amount_column: int, count_column: int, amount: int) -> None:
        self.work[amount_column] += amount
        self.work[count_column] += 1


def _is_view(func: Any) -> bool:  # noqa: ANN401 - an OpOverload, which torch does not export
    """Whether the operation only looks at its argument in another way, and so costs nothing."""
    infos = [value.alias_info for value in func._schema.returns]  # noqa: SLF001 - torch has no public way
    return any(info is not None and not info.is_write for info in infos)
