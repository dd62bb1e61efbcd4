"""Which graph neural network classifies the papers of a citation graph best?

GCN, GAT, APPNP, GCNII and SGC with few labelled nodes, searched over depth, width, dropout of
words, units and edges, and training. A trial learns from ten splits of the nodes at once; its
objective is the mean accuracy on their validation nodes after the last epoch. The finals learn
from other splits, so that the answer is not one of a lucky split. Needs no download: by default
the graph is generated, with the statistics of Cora.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analysis.curves import Learning, curve
from analysis.kept_weights import check_unchanged
from analysis.scorecard import Scorecard
from datasets.cora import GENERATED, NodeOptions, open_graph, splits_of
from datasets.tools import Tools
from engine.main import main
from engine.study import Study
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Replicate, Trial
from record.values import made_of
from trainables.models.node_classifier import NodeConfig, homework
from trainables.nodes import CPU, NodeProblem, accuracies_on_test

if TYPE_CHECKING:
    from analysis.cards import Card

PUBLISHED = (
    ("GCN", "0.815", "public split", "table 2 of Velickovic et al. 2018"),
    ("GAT", "0.830 ± 0.007", "public split", "the same"),
    ("GCNII, 64 layers", "0.855", "public split", "Chen et al. 2020"),
    ("GCN / GAT", "0.6515 / 0.7570", "one random split of 140 each", "a published homework"),
)
"""Model, accuracy, split and source of published results on Cora."""


class NodeScorecard(Scorecard):
    """Scores a trial by the share of test nodes that it classifies wrongly in each split.

    The reference gets all of them wrong, so that the score is the accuracy.
    """

    unit = "splits"
    quantity = "accuracy"
    heading = "Split by split"
    unseen = "that are other drawings than those of the search"
    remark = (
        "The finals learn from other splits than the search, which may be easier or harder; a "
        "node that tests in one split may train or validate in another. With --split public all "
        "splits are the public one, each with a network of its own: the intervals hold for its "
        "nodes. The last rows are methods that are no trials."
    )

    def outcomes(self, problem: NodeProblem, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        """Scores a trial on the test nodes; see `analysis.scorecard.Scorecard`.

        Raises:
            InputError: If the model is not the one that the trial recorded.
        """
        task = problem.task(made_of(NodeConfig, trial.config), trial.role, CPU)
        network = task.model()
        network.load_state_dict(model)
        with torch.no_grad():
            check_unchanged(trial, task.evaluate(network.eval()), "validation/accuracy")
        right = accuracies_on_test(network, task, problem.splits_for(trial.role))
        baselines = problem.baselines if isinstance(trial.role, Replicate) else {}
        wrong = {name: 1 - accuracy for name, accuracy in baselines.items()}
        return Outcomes(1 - right, np.ones(len(right)), baselines=wrong)

    def learning(self, study: RecordedStudy) -> Learning:
        """Returns the accuracies on labelled and on validation nodes over the epochs.

        Raises:
            InputError: If no trial finished.
        """
        study.best_or_refuse()
        return Learning(
            quantity="accuracy (share of the nodes)",
            name="accuracy",
            unit="",
            train=lambda trial: curve(trial, "train/accuracy"),
            validation=lambda trial: curve(trial, "validation/accuracy"),
            caption="Accuracy over the epochs, mean over the splits, of the best trial and of "
            "the baseline.",
            is_error=False,
        )

    def cards(self, study: RecordedStudy) -> "Iterator[Card]":
        """Yields the card with the accuracy of finalists and simple methods on each split.

        Raises:
            InputError: See `analysis.unit_scores.make`.
        """
        from analysis import unit_scores  # imports plotting, which a node that scores can skip

        yield unit_scores.make(study)

    def published(self, study: RecordedStudy) -> str:
        """Returns published accuracies on Cora, as Markdown."""
        from analysis.markdown import table

        rows = table(["model", "published accuracy", "on", "source"], PUBLISHED)
        is_cora = study.params["data.dataset"] != GENERATED
        relation = (
            "They are of Cora: comparable if this graph is Cora, and on the same kind of split."
            if is_cora
            else "They are of Cora; the graph of this study is generated, with Cora's statistics."
        )
        return f"{rows}\n\n{relation}"


def open_problem(options: NodeOptions, seed: int, tools: Tools) -> NodeProblem:
    """Opens the graph that the options name, and draws its splits."""
    graph = open_graph(options, tools)
    return NodeProblem(graph, splits_of(graph, options, seed))


def data_title(options: NodeOptions) -> str:
    """Returns the data set, and the split if it is another than by default, for the study's name:
    ``blocks``, ``cora-public``."""
    split = f"-{options.split}" * (options.split != NodeOptions.split)
    return f"{Path(options.dataset).stem}{split}"


STUDY = Study(
    key="nodes",
    question=__doc__ or "",
    config=NodeConfig,
    group_by="family",
    objective="validation/accuracy",
    data_options=NodeOptions,
    data_file="dataset",
    open=open_problem,
    data_title=data_title,
    presets={"homework": homework},
    first_rung=2 / 5,
    seeds=2,
    smoke={"test_splits": 4},
    scorecard=NodeScorecard(),
    file=__file__,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
