"""All parameters of a model as one vector.

A graph network has dozens of small parameters, and on a CPU every operation on each costs as much
for the call as for the numbers. On one vector the optimiser, the norm of the gradient and the
average of the weights take one call each.
"""

import torch
from torch import nn


class FlatParameters:
    """Makes the parameters of a model views of one vector; they keep their values and shapes.

    Args:
        model: On its device for good.

    Attributes:
        vector: (sum of sizes,), in the order of ``model.parameters()``. Changing it changes the
            model, and the other way round.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = tuple(model.parameters())
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in self.parameters]))
        pieces = self.vector.detach().split([p.numel() for p in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.data = piece.view_as(parameter)

    def take_gradients(self) -> None:
        """Moves the gradients of the parameters into the vector's; zero where there is none."""
        gradients = [
            p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters
        ]
        self.vector.grad = torch.cat([gradient.flatten() for gradient in gradients])
        for parameter in self.parameters:
            parameter.grad = None
