"""The GNN study by its own command line, its stages noted as spans.

    python benchmarks/measured_study.py ANY OPTIONS OF studies/gnn_sweep.py

A part of `benchmarks/plain_study.py`, which reads the spans.
"""

import sys

from studies.recording import Recorder
from studies.records import Records
from studies.search import Search

from benchmarks.measured_trial import MeasuredTrial
from benchmarks.spans import span, timed
from engine.on_ray import backend
from engine.conclusion import Conclusion
from engine.on_ray.backend import RayRunner
from engine.session import Session
from engine.study import main
from studies.gnn_sweep import STUDY


def instrument() -> None:
    """Notes what the driver and the trials do; changes nothing of it."""
    timed(ray_runner, "start", "ray")
    timed(RayRunner, "run_trials", "trials")
    timed(Session, "_rehearse", "preflight")
    timed(Conclusion, "_analyse", "analysis")
    for name in ("ask", "tell"):
        timed(Search, name, "search")
    timed(Records, "write", "recording")
    for name in ("__init__", "open", "sync", "attach", "close"):
        timed(Recorder, name, "recording")
    ray_runner.Trial = MeasuredTrial


if __name__ == "__main__":
    instrument()
    with span("main"):
        code = main(STUDY)
    sys.exit(code)
