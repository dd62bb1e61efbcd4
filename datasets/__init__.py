"""Data sets and their splits. This package does not depend on models, Ray or MLflow."""
