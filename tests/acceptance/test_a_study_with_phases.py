"""A study whose trials learn in two phases, in this one file: codes of points on a sheet, and then
what stands at each point, from its code. Finals learn from other points than the search did.

    python tests/acceptance/test_a_study_with_phases.py --local --trials 4

No other file of the project knows of it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from upath import UPath

from orrery import (
    Choice,
    Context,
    Outcomes,
    Probe,
    Real,
    Replicate,
    Role,
    Scorecard,
    Snapshot,
    Study,
    Tools,
    Trial,
    TrialConfig,
    Whole,
    at_least,
    main,
)
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.trial import Searched
from trainables.trial_loop import TrialLoop
from trainables.trial_spec import TrialSpec

Shape = Literal["plane", "bowl"]
POINTS, WIDTH, TESTED, CHOSEN_BY, BATCH = 200, 6, 40, 40, 8


@dataclass(frozen=True)
class SheetConfig(TrialConfig):
    """How codes are found, and what is fitted to them."""

    shape: Annotated[Shape, Choice(("plane", "bowl"))] = "plane"
    """What is fitted to the codes: a linear function, or one of their products, too."""

    codes: Annotated[int, Whole(1, 3)] = 2
    """Numbers that stand for a point."""

    learning_rate: Annotated[float, Real(0.01, 0.1, log=True)] = 0.03
    """Step size of Adam, in both phases."""

    coding_epochs: int = 8
    """Epochs of the first phase."""

    epochs: int = 24
    """Of both phases together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("coding_epochs", self.coding_epochs, 1)


class Sheet:
    """Points of a curved sheet in space, and the height above each; see `orrery.Problem`.

    The search learns from one split of the points that are not tested on; each final draws another
    one with its seed.
    """

    decided: Mapping[str, Sequence[Any]] = {}

    def __init__(self, seed: int) -> None:
        dice = np.random.default_rng(seed)
        place = dice.uniform(-1, 1, (POINTS, 2))
        turned = place @ dice.normal(size=(2, WIDTH))
        self.points = (turned + 0.01 * dice.normal(size=turned.shape)).astype("float32")
        self.heights = (place[:, :1] + place[:, 1:] ** 2).astype("float32")
        self.seed = seed
        self.digest = f"sheet {seed}"
        self.facts = {"test": TESTED}
        self.tested, self.others = np.split(dice.permutation(POINTS), [TESTED])

    def check(self, config: SheetConfig) -> None:
        assert config.codes <= WIDTH

    def split(self, role: Role) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from, and to choose by; none of them is tested on."""
        seed = [self.seed, role.seed] if isinstance(role, Replicate) else self.seed
        order = np.random.default_rng(seed).permutation(self.others)
        return np.sort(order[CHOSEN_BY:]), np.sort(order[:CHOSEN_BY])

    def samples(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Points (rows, WIDTH) and heights (rows, 1)."""
        return torch.from_numpy(self.points[rows]), torch.from_numpy(self.heights[rows])

    def learner(self, config: SheetConfig, role: Role, context: Context) -> "InPhases":
        assert context.device.type == "cpu"
        return InPhases(self, config, role)


class Network(nn.Module):
    """Points (B, WIDTH) -> codes (B, codes) -> points again, or heights (B, 1)."""

    def __init__(self, config: SheetConfig) -> None:
        super().__init__()
        self.products = config.codes**2 if config.shape == "bowl" else 0
        self.encoder = nn.Linear(WIDTH, config.codes, bias=False)
        self.decoder = nn.Linear(config.codes, WIDTH, bias=False)
        self.head = nn.Linear(config.codes + self.products, 1)

    def again(self, points: Tensor) -> Tensor:
        return self.decoder(self.encoder(points))

    def forward(self, points: Tensor) -> Tensor:
        codes = self.encoder(points)
        products = torch.einsum("bi,bj->bij", codes, codes).flatten(start_dim=1)
        return self.head(torch.cat([codes, products], dim=1) if self.products else codes)


class InPhases:
    """Finds codes by a linear autoencoder, and then fits heights to them, which change no more.

    Each phase has an optimiser of its own, which knows nothing of the other's steps.
    """

    def __init__(self, sheet: Sheet, config: SheetConfig, role: Role) -> None:
        torch.manual_seed(config.seed)
        self.sheet, self.config = sheet, config
        self.rows, self.chosen_by = sheet.split(role)
        self.network = Network(config)
        self.order = torch.Generator().manual_seed(config.seed)
        self._begin("coding")

    def _begin(self, phase: str) -> None:
        self.phase = phase
        coding = [*self.network.encoder.parameters(), *self.network.decoder.parameters()]
        learned = coding if phase == "coding" else [*self.network.head.parameters()]
        self.optimizer = torch.optim.Adam(learned, lr=self.config.learning_rate)

    @property
    def evaluator(self) -> Network:
        return self.network

    def advance(self, epoch: int) -> dict[str, float]:
        if self.phase == "coding" and epoch > self.config.coding_epochs:
            self._begin("fitting")
        self.network.train()
        for points, heights in self._batches():
            self._step(points, heights)
        self.network.eval()
        return self._metrics()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for some in torch.randperm(len(self.rows), generator=self.order).split(BATCH):
            yield self.sheet.samples(self.rows[some.numpy()])

    def _step(self, points: Tensor, heights: Tensor) -> None:
        self.optimizer.zero_grad()
        if self.phase == "coding":
            loss = nn.functional.mse_loss(self.network.again(points), points)
        else:
            loss = nn.functional.mse_loss(self.network(points), heights)
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def _metrics(self) -> dict[str, float]:
        points, heights = self.sheet.samples(self.chosen_by)
        lost = nn.functional.mse_loss(self.network.again(points), points)
        error = nn.functional.mse_loss(self.network(points), heights)
        return {
            "validation/lost": float(lost),
            "validation/score": 1 - float(error / heights.var(dim=0, correction=0)),
        }

    def snapshot(self) -> Snapshot:
        model = {"network": deepcopy(self.network.state_dict()), "rows": self.rows.tolist()}
        return Snapshot(
            model,
            {
                "phase": self.phase,
                "optimizer": deepcopy(self.optimizer.state_dict()),
                "order": self.order.get_state(),
            },
        )

    def restore(self, snapshot: Snapshot) -> None:
        self.network.load_state_dict(snapshot.model["network"])
        self.network.eval()
        self._begin(snapshot.training["phase"])
        self.optimizer.load_state_dict(deepcopy(snapshot.training["optimizer"]))
        self.order.set_state(snapshot.training["order"])

    def probe(self) -> Probe:
        begun = time.perf_counter()
        self.advance(1)
        return Probe(time.perf_counter() - begun, self.snapshot())


class SheetScorecard(Scorecard):
    """Scores heights by their squared errors, and shows which points a trial has learned from."""

    unit = "points"

    def outcomes(self, problem: Sheet, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        network = Network(SheetConfig(**trial.config))
        network.load_state_dict(model["network"])
        points, heights = problem.samples(problem.tested)
        with torch.no_grad():
            errors = (network.eval()(points) - heights).square().double().flatten()
        mean = heights.mean(dim=0)
        reference = (heights - mean).square().double().flatten()
        more = {"learned_from": np.array(model["rows"]), "tested": problem.tested}
        return Outcomes(errors.numpy(), reference.numpy(), more)


def open_sheet(options: object, seed: int, tools: Tools) -> Sheet:
    del options, tools
    return Sheet(seed)


STUDY = Study(
    key="sheet",
    question="How many numbers stand for a point of a sheet?",
    file=__file__,
    config=SheetConfig,
    group_by="shape",
    objective="validation/score",
    open=open_sheet,
    scorecard=SheetScorecard(),
)

# The tests

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
ASKED = ("--local", "--trials", "4", "--sampler", "random", "--finalists", "1", "--seeds", "2")
CONFIG = SheetConfig(shape="bowl", seed=3)
CODING = CONFIG.coding_epochs


def ran(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study was run."""
    made = tmp_path_factory.mktemp("sheet")
    assert "scoring" in ran(__file__, *ASKED, cwd=made)
    return made


@pytest.fixture(scope="module")
def study(folder: Path) -> RecordedStudy:
    runs = folder / "runs"
    return recorded_study(StudyFolder(runs, "sheet"), f"sqlite:///{runs / 'mlflow.db'}")


def scored(study: RecordedStudy, trial: Trial) -> Outcomes:
    found = study.artifacts.outcomes(trial)
    assert found is not None
    return found


def test_each_final_learned_from_a_split_of_its_own(study: RecordedStudy) -> None:
    """By the rows that each kept with what it learned; all were tested on the same others."""
    assert {final.config["seed"] for final in study.finals} == {*SEEDS}
    scores = {trial.number: scored(study, trial) for trial in [*study.finals, _best(study)]}
    rows = {number: found.more["learned_from"] for number, found in scores.items()}
    by_seed = {
        seed: {tuple(rows[f.number]) for f in study.finals if f.config["seed"] == seed}
        for seed in SEEDS
    }
    assert all(len(splits) == 1 for splits in by_seed.values()), "one split a seed"
    splits = {*by_seed[1], *by_seed[2], tuple(rows[_best(study).number])}
    assert len(splits) == 3, "and another one for the search"
    for number, found in scores.items():
        assert len(rows[number]) == POINTS - TESTED - CHOSEN_BY
        assert not {*rows[number]} & {*found.more["tested"]}
        assert np.array_equal(found.reference, scores[_best(study).number].reference)
        assert len(found.errors) == TESTED


def _best(study: RecordedStudy) -> Trial:
    return study.best_or_refuse()


def test_all_that_was_searched_learned_from_one_split(study: RecordedStudy) -> None:
    shown = [scored(study, trial) for trial in [_best(study), *_baselines(study)]]
    assert len(shown) >= 3
    assert len({tuple(found.more["learned_from"]) for found in shown}) == 1


def _baselines(study: RecordedStudy) -> list[Trial]:
    return [trial for trial in study.trials if trial.is_baseline]


def test_the_second_phase_is_what_learns_heights(study: RecordedStudy) -> None:
    """And the first one the codes, which the second one leaves as they are."""
    for trial in study.every:
        lost = [report.metrics["validation/lost"] for report in trial.reports]
        first, second = lost[:CODING], lost[CODING:]
        assert first[-1] < first[0] / 2
        assert second == [first[-1]] * (CONFIG.epochs - CODING)
        scores = [report.metrics["validation/score"] for report in trial.reports]
        assert scores[-1] > scores[CODING - 1]


def test_the_best_has_found_the_sheet(study: RecordedStudy) -> None:
    """By its two numbers; trained again on other points it beats the plane that had the same."""
    assert _best(study).config["shape"] == "bowl"
    assert scored(study, _best(study)).score > 0.95
    for seed in SEEDS:
        finals = [final for final in study.finals if final.config["seed"] == seed]
        score = {each.config["shape"]: scored(study, each).score for each in finals}
        assert score["bowl"] > score["plane"]


def test_a_report_tells_of_it(folder: Path) -> None:
    ran("-m", "analysis.report", "sheet", cwd=folder)
    page = (folder / "runs/sheet/report/report.html").read_text()
    assert "How many numbers stand for a point of a sheet?" in page
    assert "40 test points" in page


def test_a_final_is_replayed_from_the_split_that_it_had(
    folder: Path, study: RecordedStudy
) -> None:
    said = ran("-m", "studies.replay", f"sheet/{study.finals[-1].number}", cwd=folder)
    assert "bit for bit the same" in said


def epochs_of(loop: TrialLoop) -> list[dict[str, Any]]:
    """Its rows to the end, but for what depends on the machine."""
    while loop.epoch < CONFIG.epochs:
        loop.step()
    return [
        {name: value for name, value in row.items() if "/" in name or name == "epoch"}
        for row in loop.history
    ]


@pytest.mark.parametrize("after", [1, CODING - 1, CODING, CODING + 1, CONFIG.epochs - 1])
def test_a_trial_that_was_interrupted_goes_on_bit_for_bit(tmp_path: Path, after: int) -> None:
    """In either phase, and between them."""
    device, sheet, role = torch.device("cpu"), Sheet(0), Searched(0)
    whole = TrialLoop(TrialSpec(0, CONFIG, role=role), sheet, device)
    expected = epochs_of(whole)
    begun = TrialLoop(TrialSpec(0, CONFIG, role=role), sheet, device)
    for _ in range(after):
        begun.step()
    begun.save(UPath(tmp_path))
    torch.rand(3)
    spec = TrialSpec(0, CONFIG, role=role, resume=str(tmp_path))
    resumed = TrialLoop(spec, sheet, device)
    learner = resumed.learner
    assert isinstance(learner, InPhases)
    assert learner.phase == ("coding" if after <= CODING else "fitting")
    assert epochs_of(resumed) == expected
    assert _same(learner.snapshot(), whole)


def _same(snapshot: Snapshot, whole: TrialLoop) -> bool:
    """Whether both have learned the same, and stand where the other does."""
    assert whole.learner is not None
    expected = whole.learner.snapshot()
    states = [snapshot.model["network"], expected.model["network"]]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    moments = [each.training["optimizer"]["state"] for each in (snapshot, expected)]
    for number, state in moments[1].items():
        assert all(torch.equal(moments[0][number][name], state[name]) for name in state)
    return torch.equal(snapshot.training["order"], expected.training["order"])


if __name__ == "__main__":
    sys.exit(main(STUDY))
