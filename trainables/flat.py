"""Stores all parameters of a model in one vector.

A graph network has dozens of small parameters, and on a CPU the call overhead of an operation on
each costs as much as the arithmetic. On one vector, the optimiser step, the norm of the gradient
and the average of the weights take one call each.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FlatParameters:
    """Makes the parameters of a model views of one vector; they keep their values and shapes.

    On a GPU, the vector begins with the parameters of the model's first `nn.LSTM`: all weights by
    layer, then all biases. cuDNN expects them in this order at the beginning of their memory and
    would otherwise copy them at every call. All other parameters, and all parameters on a CPU, are
    in the order of ``model.parameters()``.

    Args:
        model: A model that is already on its final device. Moving it, or calling
            `nn.LSTM.flatten_parameters`, would detach its weights from the vector.

    Attributes:
        vector: All parameters, (number of parameters,); it shares its memory with the model.
    """

    def __init__(self, model: nn.Module) -> None:
        in_model = tuple(model.parameters())
        first = {id(parameter): n for n, parameter in enumerate(_expected_first(model))}
        places = range(len(in_model))
        self.places = sorted(places, key=lambda n: first.get(id(in_model[n]), len(first)))
        self.parameters = tuple(in_model[place] for place in self.places)
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in self.parameters]))
        pieces = self.vector.detach().split(self.sizes)
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.data = piece.view_as(parameter)

    def take_gradients(self) -> None:
        """Moves the parameters' gradients into the vector's gradient; a missing gradient becomes
        zero."""
        gradients = [
            p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters
        ]
        self.vector.grad = torch.cat([gradient.flatten() for gradient in gradients])
        for parameter in self.parameters:
            parameter.grad = None

    def check_in_place(self) -> None:
        """Checks that the parameters still are views of the vector, without synchronising a GPU.

        Raises:
            RuntimeError: If one is not; the optimiser would then no longer change it.
        """
        memory = self.vector.untyped_storage().data_ptr()
        for parameter in self.parameters:
            if parameter.untyped_storage().data_ptr() != memory:
                raise RuntimeError(
                    f"a parameter of shape {tuple(parameter.shape)} has left the vector that the "
                    "optimiser changes, as `nn.LSTM.flatten_parameters` would have it"
                )

    def in_model_order(self, values: Tensor) -> Tensor:
        """Reorders values, (number of parameters,), from the vector's order to that of
        ``model.parameters()``."""
        pieces = dict(zip(self.places, values.split(self.sizes), strict=True))
        return torch.cat([pieces[place] for place in sorted(pieces)])

    def from_model_order(self, values: Tensor) -> Tensor:
        """Reorders values, (number of parameters,), from the order of ``model.parameters()`` to
        the vector's; the inverse of `in_model_order`."""
        sizes = dict(zip(self.places, self.sizes, strict=True))
        pieces = values.split([sizes[place] for place in sorted(sizes)])
        return torch.cat([pieces[place] for place in self.places])


def _expected_first(model: nn.Module) -> Iterable[nn.Parameter]:
    """Yields the parameters of the first LSTM on a GPU in the order that cuDNN expects."""
    cores = (module for module in model.modules() if isinstance(module, nn.LSTM))
    core = next(cores, None)
    if core is None or not core.weight_ih_l0.is_cuda:
        return
    for kind in ("weight", "bias"):
        for layer in range(core.num_layers):
            for of in ("ih", "hh"):
                yield getattr(core, f"{kind}_{of}_l{layer}")
