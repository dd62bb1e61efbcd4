"""What is known of a study: its trials, what happened to them, the log, and MLflow's copy of it.

Knows no Ray, no torch and no Optuna: it is read on machines that have none of them.
"""
