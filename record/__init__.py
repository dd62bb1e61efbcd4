"""The record of a study: its trials, the log of its events, and their copy in MLflow.

The package imports neither Ray, torch nor Optuna, so that a record can be read without them.
"""
