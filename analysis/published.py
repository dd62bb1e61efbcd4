"""Published results to compare a study's scores with, each with its source."""

from dataclasses import dataclass

from analysis.markdown import table
from datasets.sources import recorded_source
from record.recorded_study import RecordedStudy
from trainables.models import families
from trainables.models.homework import SOURCE as HOMEWORK


@dataclass(frozen=True)
class DipoleError:
    """A published error of QM9's dipole moment.

    Attributes:
        model: Name of the model.
        mae: Mean absolute error on the test split, in D.
        train: Number of training molecules, about.
        source: Where it is published.
    """

    model: str
    mae: float
    train: int
    source: str


FROM_GEOMETRY = (
    DipoleError("SchNet, 2018", 0.033, 110_000, "Schütt et al. 2018, doi:10.1063/1.5019779"),
    DipoleError("DimeNet++", 0.0297, 110_000, "pyg-team/pytorch_geometric#8239"),
    DipoleError(
        "SchNet, of SchNetPack",
        0.021,
        100_000,
        "SchNetPack's documentation, docs/getstarted/benchmarks.rst in its repository",
    ),
    DipoleError("PaiNN", 0.012, 110_000, "Schütt et al. 2021, arXiv 2102.03150"),
)
"""Errors of models that see the geometry alone, largest first."""

FROM_QUANTUM_CHEMISTRY = (
    DipoleError("OrbNet-Equi, on GFN1-xTB", 0.0063, 110_000, "Qiao et al., arXiv 2105.14655"),
    DipoleError("MOB-ML, on Hartree-Fock", 0.0042, 110_000, "Sun et al., arXiv 2205.15510"),
)
"""Errors of models that see a cheaper quantum-chemical calculation of the molecule, too."""

MSE = {"torch.nn.LSTM": 1.110e-3, "LSTM from scratch": 1.088e-3}
"""Model -> one-step test error of the homework, in squared pixel values, on its own recordings of
32x32 pixels; source: `HOMEWORK`."""

PERSISTENCE = 7.74e-4 / 2.17e-4
"""The homework's teacher-forced error as a share of that of copying the previous frame, computed
from the frames of the one test sequence that `HOMEWORK` shows, steps 6 to 149."""


@dataclass(frozen=True)
class Published:
    """A table of published results.

    Attributes:
        rows: Rows of model, result, protocol and source.
        relation: How far a study's own results are comparable with them.
    """

    rows: tuple[tuple[str, str, str, str], ...]
    relation: str

    def markdown(self) -> str:
        """Returns the results as a Markdown table, with `relation` below."""
        header = ["model", "published", "on", "source"]
        return f"{table(header, self.rows)}\n\n{self.relation}"


def of_dipoles(study: RecordedStudy) -> Published:
    """Returns published scores of QM9's dipole moment, for a study of dipole moments: of models
    that see the geometry alone, or, for a study with a prior, of those that see more."""
    if study.params.get("data.prior", "none") != "none":
        return Published(
            tuple(map(_line, FROM_QUANTUM_CHEMISTRY)),
            "These models see a cheaper calculation of each molecule, as those of this study do, "
            "and learn the difference (delta learning). Models that see the geometry alone are "
            "not comparable: a prediction of theirs needs no such calculation.",
        )
    homework = "QM9, rows 1 to 10,000 to train, 11,001 to 12,000 to test"
    rows = [
        (family.title, f"R² {family.published.value:.3f}", homework, family.published.source)
        for family in families.FAMILIES
        if family.published is not None
    ]
    rows += map(_line, FROM_GEOMETRY)
    source = recorded_source(study.params["data.dataset"])
    return Published(tuple(rows), source.relation_to_published(study.params["data.split"]))


def _line(error: DipoleError) -> tuple[str, str, str, str]:
    molecules = f"QM9, about {error.train:,} molecules to train"
    return error.model, f"MAE {error.mae:.4g} D", molecules, error.source


def of_drives() -> Published:
    """Returns the published homework's one-step errors on drives."""
    own = "CarRacing, 32x32 pixels, recordings of its own"
    shown = "one test sequence of these, steps 6 to 149"
    rows = [(core, f"one-step MSE {value:.3g}", own, HOMEWORK) for core, value in MSE.items()]
    rows.append(("LSTM", f"one-step MSE {PERSISTENCE:.2f} of persistence", shown, HOMEWORK))
    return Published(
        tuple(rows),
        "How far the frames move differs between recordings, and with it every squared error: the "
        "one-step share of persistence can be compared with that in the table above, errors "
        "themselves cannot. "
        "What the homework's configuration reaches on the drives of this study stands in that "
        "table, where the study has ended, as the baseline.",
    )
