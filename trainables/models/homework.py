"""The published homework's graph neural networks: their source, and how they are trained."""

from typing import Any

SOURCE = "public solution repository liblaf/84100343-Deep-Learning, hw2"


def homework(depth: int, normalization: str = "none") -> dict[str, Any]:
    """The homework's configuration of a family, as fields of `trainables.models.gnn.GNNConfig`.

    Two convolutions of width 128, each followed by ReLU (GIN: seven, the last one without), the
    raw position beside PyG's 11 node features, bonds as edges, mean pool and a linear layer,
    Adam at 1e-3, batches of 32, 50 epochs, squared error on the raw target. Source: `SOURCE`.

    Args:
        depth: Number of convolutions.
        normalization: Of the node features; the homework has none.
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
