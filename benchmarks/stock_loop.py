"""The loop of PyG's examples around the networks of `benchmarks.stock`."""

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import PARAM_LIST, AveragedModel
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from trainables.fit import LearningRateSchedule
from trainables.metrics import mae, mse, r2
from trainables.models.gnn import GNNConfig

EVALUATION_BATCH = 256
"""Graphs predicted together, as in `trainables.molecules`."""


class StockFit:
    """A fit that does what `trainables.fit` does, with PyTorch's tools as they come.

    Args:
        model: `StockGNN` or `HomeworkGIN`, on the device.
        config: What to train with.
        steps_per_epoch: Batches in the train split.
        std: What errors are divided by in the loss, in the unit of the target.
        device: Where the batches are brought.
    """

    def __init__(
        self,
        model: nn.Module,
        config: GNNConfig,
        steps_per_epoch: int,
        std: float,
        device: torch.device,
    ) -> None:
        self.model = model
        self.config = config
        self.std = std
        self.device = device
        steps = config.epochs * steps_per_epoch
        self.optimizer = _optimizer(model, config)
        factor = LearningRateSchedule(config.schedule, config.warmup, steps)
        self.schedule = LambdaLR(self.optimizer, factor)
        self.average = _average(model, config.averaging * steps) if config.averaging else None

    def train_epoch(self, loader: DataLoader) -> float:
        """One pass over the train split; returns its mean loss, dimensionless."""
        self.model.train()
        total, graphs = 0.0, 0
        for data in loader:
            data = data.to(self.device)
            self.optimizer.zero_grad()
            loss = self._loss(data)
            loss.backward()
            if self.config.gradient_clip > 0:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
            self.optimizer.step()
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
            total += loss.item() * data.num_graphs
            graphs += data.num_graphs
        return total / graphs

    def _loss(self, data: Data) -> Tensor:
        """Mean squared error of a batch over the variance of the targets, dimensionless."""
        half = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return ((self.model(data) - data.y) / self.std).square().mean()

    @torch.no_grad()
    def evaluate(self, loader: DataLoader) -> dict[str, float]:
        """The study's metrics on the validation split."""
        predictor = self.model if self.average is None else self.average
        predictor.eval()
        batches = [(predictor(data.to(self.device)), data.y.to(self.device)) for data in loader]
        prediction, target = (torch.cat(parts).double() for parts in zip(*batches, strict=True))
        error = mse(prediction, target)
        return {
            "validation/loss": error / self.std**2,
            "validation/mse": error,
            "validation/mae": mae(prediction, target),
            "validation/r2": r2(prediction, target),
        }


def _optimizer(model: nn.Module, config: GNNConfig) -> Optimizer:
    """Adam where no weight decays."""
    if config.weight_decay == 0:
        return Adam(model.parameters(), lr=config.learning_rate)
    return AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def _average(model: nn.Module, steps: float) -> AveragedModel:
    """The exponential moving average of the weights, as PyTorch offers it.

    Args:
        model: The one in training.
        steps: About how many steps are averaged; until there are as many, all of them are, evenly.
    """
    least = 1 / max(1.0, steps)

    def follow(averages: PARAM_LIST, weights: PARAM_LIST, taken: Tensor | int) -> None:
        share = max(1 / (int(taken) + 1), least)
        torch._foreach_lerp_(averages, weights, share)  # pyright: ignore[reportPrivateImportUsage]

    return AveragedModel(model, multi_avg_fn=follow)
