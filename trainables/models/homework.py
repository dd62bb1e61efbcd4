"""Source and training configuration of the published homework's graph neural networks."""

from typing import Any

SOURCE = "public solution repository liblaf/84100343-Deep-Learning, hw2"


def homework(depth: int, normalization: str = "none") -> dict[str, Any]:
    """Returns the homework's configuration of a family, as `trainables.models.gnn.GNNConfig`
    fields.

    The homework uses two convolutions of width 128, each followed by ReLU (GIN: seven, the last
    one without); raw positions in addition to PyG's 11 node features; bonds as edges; mean pooling
    and a linear layer; Adam with a learning rate of 1e-3, batches of 32 and 50 epochs; and the
    squared error of the raw target. Source: `SOURCE`.

    Args:
        depth: Number of convolutions.
        normalization: Normalisation of the node features; the homework uses none.
    """
    return {
        "depth": depth,
        "width": 128,
        "heads": 4,
        "normalization": normalization,
        "dropout": 0.0,
        "edges": "bonds",
        "head": "mean",
        "standardize": False,
        "hybridization": False,
        "raw_positions": True,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "gradient_clip": 0.0,
        "averaging": 0.0,
        "batch_size": 32,
        "epochs": 50,
    }
