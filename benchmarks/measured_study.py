"""The GNN study by its own command line, its stages noted as spans.

    python benchmarks/measured_study.py ANY OPTIONS OF studies/gnn_sweep.py

A part of `benchmarks/plain_study.py`, which reads the spans.
"""

import sys

from benchmarks.measured_trial import MeasuredTrial
from benchmarks.spans import span, timed
from record.log import FileLog
from record.mlflow_tracker import MLflowTracker
from studies import ray_runner
from studies.conclusion import Conclusion
from studies.gnn_sweep import STUDY
from studies.ray_runner import RayRunner
from studies.search_memory import SearchMemory
from studies.session import Session
from studies.study import main


def instrument() -> None:
    """Notes what the driver and the trials do; changes nothing of it."""
    timed(ray_runner, "start", "ray")
    timed(RayRunner, "run_trials", "trials")
    timed(Session, "_rehearse", "preflight")
    timed(Conclusion, "_analyse", "analysis")
    for name in ("ask", "tell"):
        timed(SearchMemory, name, "search")
    timed(FileLog, "append", "recording")
    for name in ("__init__", "begin", "tell", "describe", "attach", "close"):
        timed(MLflowTracker, name, "recording")
    ray_runner.Trial = MeasuredTrial


if __name__ == "__main__":
    instrument()
    with span("main"):
        code = main(STUDY)
    sys.exit(code)
