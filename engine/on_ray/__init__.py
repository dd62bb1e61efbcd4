"""Trials on Ray: one machine or a cluster, by Ray Tune."""
