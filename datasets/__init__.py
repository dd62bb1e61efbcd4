"""What a trial learns from. Knows nothing of models, Ray or MLflow."""
