"""Runs trials with Ray Tune, on one machine or a cluster."""
