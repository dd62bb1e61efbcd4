"""A searched quantity: its range, where it applies, how it is drawn and how it is recorded."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import BaseTrial

from trainables.config import When

EDGE = 0.02
"""Share of a range, in logarithms where it is searched in these, that counts as its edge."""


@dataclass(frozen=True)
class Parameter:
    """One searched quantity.

    Attributes:
        key: Its name in Optuna: the field's, or ``field_value`` for a second range of the same
            field that applies for that value of another one.
        field: The field of the configuration that it sets, and the name of the MLflow param.
        distribution: Where it is searched.
        when: Where it means something; None: always.
    """

    key: str
    field: str
    distribution: BaseDistribution
    when: When | None

    @classmethod
    def recorded(cls, told: Mapping[str, Any]) -> "Parameter":
        """Makes the parameter of what `record` told of it."""
        when = told["when"]
        return cls(
            key=told["key"],
            field=told["field"],
            distribution=json_to_distribution(json.dumps(told["distribution"])),
            when=When(when["field"], tuple(when["values"])) if when else None,
        )

    def record(self) -> dict[str, Any]:
        """Tells the parameter in plain values; the distribution as Optuna writes it as JSON."""
        return {
            "key": self.key,
            "field": self.field,
            "distribution": json.loads(distribution_to_json(self.distribution)),
            "when": None if self.when is None else asdict(self.when),
        }

    def applies(self, config: Mapping[str, Any]) -> bool:
        """Tells whether it means something, given the fields that it may depend on."""
        return self.when is None or config.get(self.when.field) in self.when.values

    def suggest(self, trial: BaseTrial) -> Any:
        """Draws a value, or returns the one that the trial already has."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(self.key, choices)
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_float(self.key, low, high, step=step, log=log)
        raise TypeError(f"{self.key}: no way to suggest from {self.distribution}")

    def value(self, config: Mapping[str, Any]) -> Any:
        """Returns what a configuration has for it; None where it does not apply, or where that
        lies outside of the range, as a preset's may."""
        value = config.get(self.field) if self.applies(config) else None
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return value if value in choices else None
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                return value if value is not None and low <= value <= high else None
        raise TypeError(f"{self.key}: {self.distribution} is no range of this project")

    @property
    def ends(self) -> str:
        """The least and the greatest value of a range of numbers."""
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return f"{self.distribution.low:g} to {self.distribution.high:g}"

    def edge(self, value: Any) -> str | None:
        """Tells which end of its range a value is at: ``lowest``, ``highest`` or neither.

        Beyond the lowest there is nothing where a count is 1, or a quantity that cannot be
        negative is 0.
        """
        if isinstance(self.distribution, CategoricalDistribution) or value is None:
            return None
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        low, high = self.distribution.low, self.distribution.high
        scale = math.log if self.distribution.log else float
        place = (scale(value) - scale(low)) / (scale(high) - scale(low)) if high > low else 0.5
        whole = isinstance(self.distribution, IntDistribution)
        margin = 0.0 if whole else EDGE
        if place <= margin:
            return "lowest" if low > (1 if whole else 0) else None
        return "highest" if place >= 1 - margin else None
