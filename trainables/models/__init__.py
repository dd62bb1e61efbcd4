"""The models that trials train: graph neural networks and a world model."""
