"""Which graph neural network predicts a molecule's dipole moment best, and what makes it so?

Five families (GCN, GAT, GraphSAGE, GIN, DeepGCN), each with its default configuration as the
baseline, searched over depth, width, edges, head and training. The objective is R² on the
validation split, in the target's own unit. Needs no download: by default the molecules are made
on the spot.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from analysis import finals, loss_curves, r2_table, report, served
from datasets.cache import Cache
from datasets.molecules import UNKNOWN
from datasets.parallel import ParallelMap
from datasets.sources import MoleculeOptions, open_molecules
from engine.main import main
from engine.study import Study, StudyData
from trainables.models.gnn import GNNConfig, homework
from trainables.molecules import MoleculeTask


def open_data(
    options: MoleculeOptions,
    seed: int,
    cache: Cache,
    parallel: ParallelMap,
    say: Callable[[str], None],
) -> StudyData:
    """The molecules as a study's data. Only a dipole moment can come out of the dipole head."""
    molecules = open_molecules(options, seed, cache, parallel, say)
    split = molecules.split
    if molecules.unit == UNKNOWN:
        say(
            f"the unit of {options.target} is not recorded: no dipole head, only the mean; say "
            "--unit D if it is a dipole moment in D"
        )
    elif molecules.unit != "D":
        say(f"{options.target} is in {molecules.unit}, not D: no dipole head, only the mean")
    return StudyData(
        make_task=partial(MoleculeTask, molecules),
        digest=molecules.digest,
        facts={
            "unit": molecules.unit,
            "molecules": len(molecules.graphs) + molecules.dropped,
            "left_out": molecules.dropped,
            "bonds": "listed" if molecules.lists_bonds else "of the SMILES",
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
        },
        decided={} if molecules.unit == "D" else {"head": ["mean"]},
    )


def data_title(options: MoleculeOptions) -> str:
    """``gfn2-mu``, ``qm9-mu``."""
    return f"{Path(options.dataset).stem}-{options.target}"


STUDY = Study(
    key="gnn",
    question=__doc__ or "",
    config=GNNConfig,
    by="family",
    objective="validation/r2",
    data_options=MoleculeOptions,
    open_data=open_data,
    data_title=data_title,
    presets={"homework": homework},
    smoke={"molecules": 200, "split": "random"},
    analyses=(loss_curves.analyse, r2_table.analyse, finals.analyse, report.analyse),
    serve=served.regressor,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
