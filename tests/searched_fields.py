"""Pairs of configurations that differ in one searched field: each field has to matter."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from engine.space import Space, parameters_of
from trainables.config import TrialConfig
from trainables.parameter import Parameter


def pairs(config: type[TrialConfig], group_by: str, **common: Any) -> Iterator[Any]:
    """Yields, for each value of `group_by` and each field that is searched with it, a name and two
    configurations that differ in this field only.

    Args:
        config: The config dataclass.
        group_by: The field whose values are compared.
        common: Values of fields in all configurations, such as few epochs.
    """
    given = {name: (value,) for name, value in common.items()}
    space = Space.of(config, group_by, given)
    for value in space.compared:
        default = space.default(value)
        for parameter in parameters_of(config):
            values = asdict(default)
            known = parameter.field in (group_by, *common)
            if known or not parameter.applies(values):
                continue
            one, other = (config(**{**values, parameter.field: each}) for each in _two(parameter))
            yield f"{value}-{parameter.field}", one, other


def _two(parameter: Parameter) -> tuple[Any, Any]:
    match parameter.distribution:
        case CategoricalDistribution(choices=choices):
            return choices[0], choices[-1]
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return low, high
    raise AssertionError(parameter)
