"""Trains trials with torch; only `trainable` imports Ray, and no module imports MLflow."""
