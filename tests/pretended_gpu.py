"""Simulates a GPU on a machine without one, to find errors that only occur with a GPU.

Tensors "on the GPU" are stored and computed on the CPU, so that all values are real; their memory
is marked. Two kinds of errors are found: operations that mix tensors of both devices, which fail
with a GPU, and operations for which the processor would wait for the GPU.

Not found are errors in backward passes written in C++, types that only CUDA does not support, and
errors in cuDNN.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from trainables import captured

GPU, CPU = torch.device("cuda"), torch.device("cpu")

ROOT = Path(__file__).resolve().parent.parent
OWN = tuple(str(ROOT / package) for package in ("datasets", "trainables", "benchmarks"))

WAITS = {"item", "__float__", "__int__", "__bool__", "__index__", "tolist", "nonzero", "bincount"}
WAITS |= {"masked_select", "unique", "unique_consecutive"}
"""Names of operations that wait for the GPU, because the processor needs their result or its
shape."""

MIXES = {"__get__", "__set__", "copy_", "to", "_has_compatible_shallow_copy_type", "set_data"}
"""Names of operations that accept tensors of both devices."""

BUILDERS = ("new_", "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like")
"""Beginnings of the names of operations whose result is on the device of their first argument,
unless another device is given."""

MARK = "is_on_the_gpu"
"""Name of the attribute that marks a storage as memory of the GPU."""

MEMORY = 80 * 2**30
"""Memory of the pretended GPU, in bytes."""


class PretendedGPU(TorchFunctionMode):
    """Runs all operations on the CPU and records those that a GPU would refuse or wait for.

    Attributes:
        mixed: Operations on tensors of both devices, each with the line that called it.
        waits: Operations for which the processor would wait, each with the line that called it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []
        self.waits: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        name = func.__name__
        if name == "__get__":
            return _attribute(func, args[0])
        if name == "_parse_to":  # how `nn.Module.to` reads its arguments
            return func(*args, **kwargs)
        given = _tensors(args)
        if kwargs:
            given += _tensors(kwargs.values())
        on = [hasattr(_storage(tensor), MARK) for tensor in given]
        name = "to" if name in ("cuda", "cpu") else name
        goes = self._goes(func, name, on, args, kwargs)
        told = goes is not None
        goes = any(on) if goes is None else goes
        if any(on) or goes:
            self._note(name, given, on, kwargs, told=told, goes=goes)
        if func.__name__ in ("cuda", "cpu"):
            func, args = Tensor.to, (args[0], CPU)
        if told:
            args = tree_map(_as_cpu, args)
            kwargs = {key: tree_map(_as_cpu, value) for key, value in kwargs.items()}
        out = func(*args, **kwargs)
        if name == "to" and told and goes != on[0]:
            out = out.clone()  # tensors of both devices must not share memory
        if goes:
            for tensor in _tensors((out,)):
                setattr(_storage(tensor), MARK, True)
        return out

    def _goes(
        self,
        func: Callable[..., Any],
        name: str,
        on: list[bool],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> bool | None:
        """Returns whether the arguments request a result on the GPU; None if they name no
        device."""
        if func.__name__ in ("cuda", "cpu"):
            return func.__name__ == "cuda"
        for each in (*args[:3], kwargs.get("device")):
            if _is_device(each):
                return str(each).startswith("cuda")
        return on[0] if name.startswith(BUILDERS) and on else None

    def _note(
        self,
        name: str,
        given: list[Tensor],
        on: list[bool],
        kwargs: dict[str, Any],
        *,
        told: bool,
        goes: bool,
    ) -> None:
        here = bool(given) and not on[0]
        alone = not all(on) and any(
            t.dim() for t, there in zip(given, on, strict=True) if not there
        )
        # CUDA copies an index from the CPU and waits.
        index = name in ("__getitem__", "__setitem__") and not here
        masks = index and any(t.dtype == torch.bool and t.dim() for t in given[1:])
        if name == "numpy" or (alone and not (told or index or name in MIXES)):
            self.mixed.append(f"{name} at {whose_line()}")
        sized = name == "repeat_interleave" and kwargs.get("output_size") is None
        # A copy to the GPU from memory that is not pinned waits, like a copy from the GPU.
        moved = name == "to" and told and here == goes and not _is_asked_for_by("clip_grad.py")
        if name in WAITS or sized or masks or moved or (index and alone):
            self.waits.append(f"{name} at {whose_line()}")


def _attribute(func: Any, of: Any) -> Any:
    """Returns an attribute of a tensor, such as its device, as if the GPU were real."""
    there = isinstance(of, Tensor) and _is_there(of)
    if func.__self__ in (Tensor.device, Tensor.is_cuda):
        return there if func.__self__ is Tensor.is_cuda else GPU if there else CPU
    out = func(of)
    if there and isinstance(out, Tensor):
        setattr(_storage(out), MARK, True)
    return out


def _storage(tensor: Tensor) -> Any:
    """Returns a tensor's memory; of a sparse one, that of its values."""
    dense = tensor if tensor.layout == torch.strided else tensor.values()
    return dense.untyped_storage()


def _is_there(tensor: Tensor) -> bool:
    return hasattr(_storage(tensor), MARK)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Lists the tensors among values, nested tuples, lists and dictionaries included."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
    return found


def _is_device(leaf: Any) -> bool:
    if isinstance(leaf, str):
        return leaf.partition(":")[0] in ("cuda", "cpu")
    return isinstance(leaf, torch.device)


def _as_cpu(leaf: Any) -> Any:
    return CPU if _is_device(leaf) else leaf


def _is_asked_for_by(file: str) -> bool:
    """Returns whether the operation was called in a file with this name.

    torch's gradient clipping (clip_grad.py) moves a number to the device where it already is,
    which does not wait. It gets that device from C++ code, which does not see the pretended GPU.
    """
    return Path(sys._getframe(3).f_code.co_filename).name == file


def whose_line() -> str:
    """Returns the file and line number of the innermost line of this project in the call stack."""
    frame = sys._getframe(2)
    while frame.f_back is not None and not frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    file = Path(frame.f_code.co_filename)
    return f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}:{frame.f_lineno}"


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGPU]:
    """Makes torch behave as on a machine with one GPU; yields the record of its operations.

    Functions of torch stay replaced until `monkeypatch` is undone.
    """
    mode = PretendedGPU()
    state = [torch.Generator().manual_seed(0).get_state()]

    class OnTheCPU(torch.autocast):
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            del device_type
            super().__init__("cpu", *args, **kwargs)

    for name, stand_in in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_rng_state": lambda *_: state[0].clone(),
        "set_rng_state": lambda new, *_: state.__setitem__(0, new),
        "reset_peak_memory_stats": lambda *_: None,
        "max_memory_allocated": lambda *_: 2**29,
        "max_memory_reserved": lambda *_: 2**30,
        "memory_reserved": lambda *_: 2**30,
        "mem_get_info": lambda *_: (MEMORY - 3 * 2**29, MEMORY),
        "set_per_process_memory_fraction": lambda *_: None,
        "empty_cache": lambda: None,
        "synchronize": lambda *_: None,
        "get_device_name": lambda *_: "pretended GPU",
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(captured, "is_possible", lambda _: False)
    monkeypatch.setattr(torch, "autocast", OnTheCPU)
    monkeypatch.setattr(torch.backends.cudnn, "is_acceptable", lambda _: False)
    with mode:
        yield mode
