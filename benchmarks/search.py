"""What does a search find in a given time: by sampler, by rule of early stopping, by schedule?

    python benchmarks/search.py
    python benchmarks/search.py --samplers tpe --trials 16 32 --orders 20    # some minutes

replays searches on recorded learning curves (benchmarks/record_curves.py) instead of training, in
many random orders, and prints three tables: the time and the regret of whole searches; the regret
after shares of the time that a search without early stopping takes; and how far ranks after a few
epochs agree with those at the end. The regret is what the best fully trained configuration lacks
to the best of the whole table. It draws docs/images/search.png.

The sampler `random` takes the configurations in a random order; of any other sampler each draw is
replaced by the nearest configuration of the table that is left, so that a clever sampler is shown
less clever than it is.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks import learning_curves, search_figure
from benchmarks.command_line import Parser, exit_code, positive, seconds
from benchmarks.document import IMAGES
from benchmarks.early_ranks import ranks_table
from benchmarks.learning_curves import Curve
from benchmarks.replayed_search import ReplayedSearch, Table
from benchmarks.search_tables import Kind, Searched, budget_table, whole_table
from benchmarks.stopping_rules import RULES, Plan
from datasets.errors import InputError
from datasets.typed_paths import typed_path
from engine.search_memory import SamplerName
from engine.space import Space
from studies.gnn_sweep import STUDY
from trainables.models.gnn import GNNConfig

SAMPLERS: Sequence[SamplerName] = ("random", "tpe", "gp")

SCHEDULES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "searched": {},
    "constant": {"schedule": ["constant"]},
}
"""Learning-rate schedule of the searched configurations -> the fields that it fixes."""


def main(argv: Sequence[str]) -> None:
    """Replays the searches, prints the tables and draws the figure.

    Raises:
        InputError: If the file of curves cannot be used.
    """
    typed = _parsed(argv)
    curves = learning_curves.read(typed.curves)
    tables = {name: _table(curves, given) for name, given in SCHEDULES.items()}
    for name, table in tables.items():
        if not any(curve.is_whole for curve in table.curves.values()):
            raise InputError(f"{typed.curves}: expected whole curves where the schedule is {name}")
    best = max(c.objective[-1] for c in tables["searched"].curves.values() if c.is_whole)
    found = list(_searched(tables, typed))
    print(
        f"{len(tables['searched'].curves)} configurations, {typed.workers} at a time, "
        f"{typed.orders} orders; the best of all: {STUDY.objective} {best:.4f}\n"
    )
    print(f"{whole_table(found, best)}\n\n{budget_table(found, best, max(typed.trials))}\n")
    print(ranks_table(curves))
    print(search_figure.draw(found, best, typed.image))


def _parsed(argv: Sequence[str]) -> Namespace:
    line = Parser(__doc__)
    what = "recorded curves (default: those in docs/results)"
    line.add_argument("--curves", type=typed_path, default=learning_curves.FILE, help=what)
    what = "how configurations are chosen (default: random)"
    line.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["random"], help=what)
    line.add_numbers("--trials", (16, 32, 64, 128), "trials of a search")
    line.add_defaulting("--orders", positive, 100, "searches of each kind")
    line.add_defaulting("--workers", positive, 2, "trials that run at the same time")
    what = "seconds that a trial takes to begin, and to go on"
    line.add_defaulting("--start", seconds, 0.4, what)
    what = "the figure (default: docs/images/search.png)"
    line.add_argument("--image", type=typed_path, default=IMAGES / "search.png", help=what)
    return line.parse_args(argv)


def _table(curves: Sequence[Curve], given: Mapping[str, Sequence[str]]) -> Table:
    """Returns the curves of the first seed whose configurations are in a space."""
    space = Space.of(GNNConfig, STUDY.group_by, given)
    first = min(curve.seed for curve in curves)
    fixed = space.fixed.items()
    inside = [c for c in curves if all(c.config[name] == value for name, value in fixed)]
    return Table(space, [curve for curve in inside if curve.seed == first])


def _searched(tables: Mapping[str, Table], typed: Namespace) -> Iterator[Searched]:
    """Yields the searches of each kind, one kind after the other."""
    for schedule, table in tables.items():
        for sampler in typed.samplers:
            for rule, make in RULES.items():
                for trials in typed.trials:
                    plan = Plan(trials, table.epochs)
                    search = partial(
                        ReplayedSearch, table, make, plan, sampler, typed.workers, typed.start
                    )
                    yield Searched(
                        Kind(sampler, rule, schedule, trials),
                        [search(order).run() for order in range(typed.orders)],
                    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
