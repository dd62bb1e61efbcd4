"""The functions of a study of tensors, tried once on a few samples before anything is trained."""

from collections.abc import Callable
from typing import Any, Protocol
from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor, nn

from datasets.errors import InputError, described
from trainables.device import ran_out_of_memory
from trainables.samples import Samples

ALIKE = (
    "predictions and targets have to be of one shape: end the network with nn.Flatten(0), or "
    "give targets of shape (samples, 1)"
)
CLASSES = "number the classes from 0, and let the network give a score for each of them"


class Functions(Protocol):
    """A problem's functions; see `trainables.tensors.TensorProblem`."""

    loss: Callable[[Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]


def check_functions(functions: Functions, network: object, some: Samples) -> None:
    """Tries a network, the loss, the error and the reference on a few samples on the CPU. Leaves
    the random numbers of the process alone, and the network in training mode.

    Raises:
        InputError: If one of them fails, or gives something else than it should.
    """
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise InputError(f"network() gave a {kind}: expected a torch.nn.Module")
    with torch.random.fork_rng([]), torch.no_grad(), catch_warnings():
        filterwarnings("error", message="Using a target size")  # it would be broadcast
        network.eval()
        said = _tried("the network", network, some.inputs)
        _check_scalar(_tried("loss", functions.loss, said, some.targets), said, some)
        error = _tried("error", functions.error, said, some.targets)
        _check_each("error", error, _shapes(said, some.targets), some)
        reference = _tried("reference", functions.reference, some.targets)
        _check_each("reference", reference, _shapes(some.targets), some)
        network.train()


def _tried(name: str, function: Callable[..., Any], *given: Any) -> Any:
    """What a function gives.

    Raises:
        InputError: If torch complains of what it is given.
    """
    try:
        return function(*given)
    except IndexError as error:
        hint = f": {CLASSES}" if len(given) == 2 else ""
        raise _failed(name, given, error, hint) from error
    except UserWarning as error:
        raise _failed(name, given, error, f": {ALIKE}") from error
    except (RuntimeError, ValueError) as error:
        if ran_out_of_memory(error):
            raise
        raise _failed(name, given, error, "") from error


def _failed(name: str, given: tuple[Any, ...], error: Exception, hint: str) -> InputError:
    words = described(error).split(". ")[0].removesuffix(".")
    return InputError(f"{name} fails on {_shapes(*given)} ({words}){hint}")


def _check_scalar(loss: Any, said: Any, some: Samples) -> None:
    if not isinstance(loss, Tensor) or loss.ndim:
        raise InputError(
            f"loss gives {_shape(loss)} for {_shapes(said, some.targets)}: expected a scalar "
            "tensor, such as a mean over the samples"
        )


def _check_each(name: str, found: Any, given: str, some: Samples) -> None:
    """Checks that there is a number, not negative, for each sample."""
    expected = (len(some.targets),)
    if not isinstance(found, Tensor) or tuple(found.shape) != expected:
        advice = ALIKE if name == "error" else "average over all other axes"
        raise InputError(
            f"{name} gives {_shape(found)} for {given}: expected {expected}, a number for each "
            f"sample; {advice}"
        )
    if bool((found < 0).any()):
        raise InputError(
            f"{name} gives {float(found.min()):.4g} for a sample: expected at least 0, such as a "
            "square or an absolute value"
        )


def _shapes(*values: Any) -> str:
    """The values' shapes and types, named by how many there are."""
    names = ("predictions", "targets") if len(values) == 2 else ("samples",)
    return " and ".join(
        f"{name} {_shape(value)}" for name, value in zip(names, values, strict=True)
    )


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
