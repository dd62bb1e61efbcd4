"""The GNN study by its own command line, its stages noted as spans.

    python benchmarks/measured_study.py ANY OPTIONS OF studies/gnn_sweep.py

A part of `benchmarks/plain_study.py`, which reads the spans.
"""

import sys

from benchmarks.measured_trial import MeasuredTrial
from benchmarks.spans import span, timed
from engine import conclude, prepare
from engine.main import main
from engine.on_ray import backend
from engine.on_ray.backend import RayBackend
from engine.search_memory import SearchMemory
from record.log import FileLog
from record.mlflow_tracker import MLflowTracker
from studies.gnn_sweep import STUDY


def instrument() -> None:
    """Notes what the driver and the trials do; changes nothing of it."""
    timed(backend, "start", "ray")
    timed(RayBackend, "run", "trials")
    timed(prepare, "_profile", "preflight")
    timed(conclude._Conclusion, "_analyse", "analysis")
    for name in ("ask", "tell"):
        timed(SearchMemory, name, "search")
    timed(FileLog, "append", "recording")
    for name in ("__init__", "begin", "tell", "describe", "attach", "close"):
        timed(MLflowTracker, name, "recording")
    backend.TrialTrainable = MeasuredTrial


if __name__ == "__main__":
    instrument()
    with span("main"):
        code = main(STUDY)
    sys.exit(code)
