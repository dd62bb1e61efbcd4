"""Which graph neural network predicts a molecule's dipole moment best, and what makes it so?

Six families (GCN, GAT, GraphSAGE, GIN, DeepGCN, PaiNN), each with its default configuration as
the baseline, searched over depth, width, edges, head, loss and training. The objective is R² on
the validation split, in the target's own unit. Needs no download: by default the molecules are
made on the spot.
"""

import sys
from pathlib import Path

from analysis import packaged_model
from analysis.molecule_scorecard import MoleculeScorecard
from datasets.sources import MoleculeOptions, open_molecules
from datasets.tools import Tools
from engine.main import main
from engine.study import Study
from trainables.models.gnn import GNNConfig, homework
from trainables.molecules import MoleculeProblem


def open_problem(options: MoleculeOptions, seed: int, tools: Tools) -> MoleculeProblem:
    """Opens the molecules that the options name."""
    problem = MoleculeProblem(
        open_molecules(options, seed, tools.cache, tools.parallel, tools.notify)
    )
    if remark := problem.remark(options.target):
        tools.notify(remark)
    return problem


def data_title(options: MoleculeOptions) -> str:
    """Returns data set, target and prior, for the study's name: ``gfn2-mu``, ``qm9-mu-gfn2``."""
    prior = f"-{options.prior}" if options.prior != "none" else ""
    return f"{Path(options.dataset).stem}-{options.target}{prior}"


STUDY = Study(
    key="gnn",
    question=__doc__ or "",
    config=GNNConfig,
    group_by="family",
    objective="validation/r2",
    data_options=MoleculeOptions,
    data_file="dataset",
    open=open_problem,
    data_title=data_title,
    presets={"homework": homework},
    first_rung=2 / 15,  # after the second epoch; docs/search.md compares it with others
    smoke={"molecules": 200, "split": "random"},
    scorecard=MoleculeScorecard(),
    file=__file__,
    package=packaged_model.regressor,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
