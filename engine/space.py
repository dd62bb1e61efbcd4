"""The search space of a study, read off the annotations of its config dataclass."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import count, islice, pairwise
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from datasets.errors import InputError
from record.values import plain
from trainables.config import TrialConfig, When
from trainables.parameter import Parameter

Fields = Callable[[Any], Mapping[str, Any]]
"""Value of `Space.group_by` -> fields of a configuration; the others have their defaults."""

End = Callable[..., Any]
"""Of a range: `max` or `min`."""

SINGLE = ("epochs", "seed")
"""Config fields that all trials of a study have in common: only one value can be given."""

MANY = 10_000
"""Configurations of a grid, at most: each is in the log whenever a session begins."""


def parameters_of(config: type[TrialConfig]) -> list[Parameter]:
    """All parameters of a config; those with a condition come after those without."""
    found = []
    for field, hint in get_type_hints(config, include_extras=True).items():
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        for mark, following in pairwise((*marks, None)):
            if isinstance(mark, BaseDistribution):
                when = following if isinstance(following, When) else None
                known = any(parameter.field == field for parameter in found)
                key = f"{field}_{when.values[0]}" if known and when else field
                found.append(Parameter(key, field, mark, when))
    return sorted(found, key=lambda parameter: parameter.when is not None)


def _parameters_of(config: type[TrialConfig], several: Collection[str]) -> list[Parameter]:
    """The parameters of a config, and the other fields of which the user gave several values."""
    known = parameters_of(config)
    others = [name for name in several if all(each.field != name for each in known)]
    anything = CategoricalDistribution((None,))
    return [*(Parameter(name, name, anything, None) for name in others), *known]


@dataclass(frozen=True)
class Space:
    """What one study searches: some parameters; every other field has one value.

    Attributes:
        config: The config dataclass.
        group_by: The categorical field whose values are compared, such as the family: for each the
            baseline and the default configuration are tried first.
        parameters: What is searched.
        fixed: Fields that the user set.
        preset: Gives the fields of a named configuration for a value of `group_by`; None:
            no preset, the defaults of the config.
        reference: Gives the fields of the baseline for a value of `group_by`, where they
            are not the defaults; None: the default configuration is the baseline.
        listed: The configurations that are tried, one after the other, those of `first` before
            the others; None: any may be.
        carried: Configurations of earlier studies, which are tried before the baselines.
        places: Index of each trial that is tried first, in the order of `first`; empty: they are
            the first trials. See `going_on`.
    """

    config: type[TrialConfig]
    group_by: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any]
    preset: Fields | None = None
    reference: Fields | None = None
    listed: tuple[TrialConfig, ...] | None = None
    carried: tuple[TrialConfig, ...] = ()
    places: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        config: type[TrialConfig],
        group_by: str,
        given: Mapping[str, Sequence[Any]],
        preset: Fields | None = None,
        reference: Fields | None = None,
        only: Collection[str] | None = None,
    ) -> "Space":
        """The space of a config without what the user decided.

        Args:
            config: The config dataclass.
            group_by: See `Space`.
            given: Field -> the values that the user gave: one fixes the field, several restrict
                its choices.
            preset: See `Space`: every field but `group_by` is then decided.
            reference: See `Space`.
            only: The fields that may be searched besides `group_by`; None: all.

        Raises:
            InputError: If a given value is out of range, or does not go with another one, with a
                default or with an end of a range.
        """
        given = distinct(given)
        fixed = {field: values[0] for field, values in given.items() if len(values) == 1}
        several = [field for field, values in given.items() if len(values) > 1]
        if preset and only is None and (decided := {*several} - {group_by}):
            raise InputError(
                f"--preset and several values of --{min(decided).replace('_', '-')}: expected one "
                "of them, or --sampler grid for all combinations"
            )
        left_out = set() if only is None and not preset else {f.name for f in fields(config)}
        left_out -= {group_by, *(only or ())}
        parameters = []
        for parameter in _parameters_of(config, several):
            if parameter.field in fixed or parameter.field in left_out:
                continue
            if parameter.field in given:
                choices = CategoricalDistribution(tuple(given[parameter.field]))
                parameter = replace(parameter, distribution=choices)
            if parameter.when is None or cls._possible(parameter.when, given):
                parameters.append(parameter)
        space = cls(config, group_by, tuple(parameters), fixed, preset, reference)
        space._check({*several} - {group_by})
        return space

    def _check(self, several: Collection[str]) -> None:
        """Makes what is tried first, and what the user's values give at the ends of the ranges of
        the others."""
        theirs = [parameter for parameter in self.parameters if parameter.field in several]
        others = [parameter for parameter in self.parameters if parameter.field not in several]
        for value in self.compared:
            self.default(value)
            self.baseline(value)
            for values in islice(_combinations(theirs, self._base(value)), MANY):
                self._extreme_of(values, max, others)
                self._extreme_of(values, min, others)

    @staticmethod
    def _possible(when: When, given: Mapping[str, Sequence[Any]]) -> bool:
        return when.field not in given or bool(set(when.values) & set(given[when.field]))

    @property
    def compared(self) -> tuple[Any, ...]:
        """The values of `group_by` that are in the study."""
        if self.group_by in self.fixed:
            return (self.fixed[self.group_by],)
        searched = next(p for p in self.parameters if p.field == self.group_by)
        assert isinstance(searched.distribution, CategoricalDistribution)
        return searched.distribution.choices

    @property
    def largest(self) -> int | None:
        """How many trials make sense, of listed configurations or presets; None: any number."""
        if self.listed is not None:
            return len(self.listed)
        return len(self.compared) if self.preset else None

    @property
    def epochs(self) -> int:
        """What every trial's budget is; it is never searched."""
        return self.default(self.compared[0]).epochs

    def suggest(self, trial: optuna.trial.BaseTrial, index: int) -> TrialConfig:
        """Draws a configuration, asking Optuna only for the parameters that apply.

        Args:
            trial: The trial in Optuna.
            index: Its index in the search: a baseline may set fields that are not searched.
        """
        is_baseline = self.is_baseline(index)
        values = asdict(self.opening[index]) if is_baseline else self._defaults()
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.field] = parameter.suggest(trial)
        if self.preset is not None:  # it leaves nothing to draw but the value of `group_by`
            values = self._base(values[self.group_by])
        return self.config(**values)

    def default(self, value: Any) -> TrialConfig:
        """Returns the default configuration, or the preset, for a value of `group_by`; a field
        whose default the user left out has the first of the values that were given.

        Raises:
            InputError: If what the user fixed does not go with it.
        """
        values = self._base(value)
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.field] = _inside(parameter.distribution, values[parameter.field])
        return self.config(**values)

    def baseline(self, value: Any) -> TrialConfig:
        """What every configuration of a value of `group_by` is compared with.

        Raises:
            InputError: If what the user fixed does not go with it.
        """
        if self.preset is not None or self.reference is None:
            return self.default(value)
        return replace(self, preset=self.reference).default(value)

    def extreme(self, value: Any, end: End) -> TrialConfig:
        """Returns, for a value of `group_by`, the configuration whose searched integers are all
        the greatest (`max`) or the least (`min`): no other takes more time or memory than the
        greatest. Among listed configurations it is the one whose integers have the greatest, or
        least, product.

        Raises:
            InputError: If what the user fixed does not go with it.
        """
        if self.listed is not None:
            return end((c for c in self.listed if getattr(c, self.group_by) == value), key=_size)
        return self._extreme_of(self._base(value), end, self.parameters)

    def _extreme_of(
        self, values: Mapping[str, Any], end: End, parameters: Iterable[Parameter]
    ) -> TrialConfig:
        values = dict(values)
        for parameter in parameters:
            if parameter.applies(values):
                values[parameter.field] = _extreme(parameter, values[parameter.field], end)
        return self.config(**values)

    def is_baseline(self, index: int) -> bool:
        """Whether the search trial of this index is one."""
        return index in self.opening and self.opening[index] in self._baselines

    def _base(self, value: Any) -> dict[str, Any]:
        """All fields for a value of `group_by`, as if nothing were searched."""
        named = self.preset(value) if self.preset else {}
        return {**self._defaults(), **named, self.group_by: value, **self.fixed}

    def first(self) -> list[dict[str, Any]]:
        """Returns the parameters of what is tried first, each once: what was carried over from
        earlier studies, for each value of `group_by` the baseline, then its default configuration,
        if that is another one."""
        return [self.drawn(config) for config in self.opening.values()]

    @cached_property
    def opening(self) -> dict[int, TrialConfig]:
        """Index of a trial of the search -> its configuration, for all that are tried first.

        A baseline may differ from another one of them only in fields that are not searched: the
        baseline is then tried in its place.
        """
        own = self._distinct(self._first())
        known = [self.drawn(config) for config in own]
        carried = [each for each in self._distinct(self.carried) if self.drawn(each) not in known]
        first = [*carried, *own]
        return dict(zip(self.places or range(len(first)), first, strict=True))

    def _distinct(self, configs: Iterable[TrialConfig]) -> list[TrialConfig]:
        """The first configuration of each choice of the searched parameters."""
        found: list[tuple[dict[str, Any], TrialConfig]] = []
        for config in configs:
            if all(self.drawn(config) != drawn for drawn, _ in found):
                found.append((self.drawn(config), config))
        return [config for _, config in found]

    @cached_property
    def _baselines(self) -> list[TrialConfig]:
        return [self.baseline(value) for value in self.compared]

    def _first(self) -> list[TrialConfig]:
        defaults = [self.default(value) for value in self.compared]
        others = (config for config in defaults if config not in self._baselines)
        return [*self._baselines, *others]

    def going_on(
        self, tried: Sequence[Mapping[str, Any]], carried: Iterable[TrialConfig] = ()
    ) -> "Space":
        """The same space in a study that has trials already, maybe of a wider space: what is tried
        first and was not comes next.

        Args:
            tried: Configurations of the trials of the search so far, in the order of their index.
            carried: See `Space`.
        """
        space, known = replace(self, carried=tuple(carried), places=()), list(map(dict, tried))
        first = [plain(asdict(config)) for config in space.opening.values()]
        following = count(len(known))
        places = (known.index(each) if each in known else next(following) for each in first)
        return replace(space, places=tuple(places))

    def includes(self, config: Mapping[str, Any]) -> bool:
        """Whether a recorded configuration of the study lies in the space, which may be narrower
        than the one that it was drawn from; a baseline may have set other fields as it likes."""
        fixed = plain({k: value for k, value in self.fixed.items() if k not in SINGLE})
        return all(config.get(name) == value for name, value in fixed.items()) and all(
            contains(parameter.distribution, config.get(parameter.field))
            for parameter in self.parameters
            if parameter.applies(config)
        )

    def misfit(self, config: Mapping[str, Any]) -> str:
        """Returns why the search cannot draw a configuration, such as ``width is 96, searched is
        16 to 64``; empty if it can, whatever its epochs and its seed."""
        expected = self._defaults()
        for parameter in self.parameters:
            if parameter.applies(config):
                value = config.get(parameter.field)
                if not contains(parameter.distribution, value):
                    searched = shown(parameter.distribution)
                    return f"{parameter.field} is {value}, searched is {searched}"
                expected[parameter.field] = value
        for field, value in expected.items():
            if field not in SINGLE and config.get(field) != value:
                return f"{field} is {config.get(field)}, here it is {value}"
        try:
            self.config(**expected)
        except InputError as error:  # it does not go with the epochs of this study
            return str(error)
        return ""

    def listing(self, configs: Iterable[TrialConfig]) -> "Space":
        """The same space, of which only these configurations are tried, after the first ones."""
        first = self._first()
        others = dict.fromkeys(config for config in configs if config not in first)
        return replace(self, listed=(*first, *others))

    def grid(self) -> "Space":
        """The same space, of which all combinations are tried.

        Raises:
            InputError: If there are too many, or one of them does not go together.
        """
        parameters = [each for each in self.parameters if each.field != self.group_by]
        bases = (self._base(value) for value in self.compared)
        found = (each for base in bases for each in _combinations(parameters, base))
        configs = [self.config(**values) for values in islice(found, MANY + 1)]
        if len(configs) > MANY:
            raise InputError(
                f"--sampler grid: expected at most {MANY:,} configurations: give fewer values"
            )
        return self.listing(configs)

    def defaults_at(self) -> list[int]:
        """Indices of the trials of the default configurations, by value of `group_by`."""
        if self.listed is not None:
            return [self.listed.index(self.default(value)) for value in self.compared]
        first, places = self.first(), [*self.opening]
        drawn = [self.drawn(self.default(value)) for value in self.compared]
        return [places[first.index(each)] for each in drawn]

    def drawn(self, config: TrialConfig) -> dict[str, Any]:
        """What would have to be drawn for a configuration: the parameters that apply."""
        return self.drawn_of(asdict(config))

    def drawn_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What would have to be drawn for a recorded configuration, in or out of the space."""
        return {
            parameter.key: config.get(parameter.field)
            for parameter in self.parameters
            if parameter.applies(config)
        }

    def _defaults(self) -> dict[str, Any]:
        return {field.name: field.default for field in fields(self.config)} | dict(self.fixed)

    def searched(self) -> list[dict[str, Any]]:
        """What is searched, for the record; `Parameter.recorded` reads it."""
        return [parameter.record() for parameter in self.parameters]


def distinct(given: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The values that were given for each field, each once."""
    return {field: tuple(dict.fromkeys(values)) for field, values in given.items()}


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Returns True if a value lies in the distribution of a parameter."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


def shown(distribution: BaseDistribution) -> str:
    """Describes a distribution for the user, such as ``16 to 64`` or ``gcn, gin``."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return ", ".join(map(str, choices))
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return f"{low:g} to {high:g}"
    return str(distribution)


def _combinations(
    parameters: Sequence[Parameter], values: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """All combinations of what some parameters may be; those that do not apply stay as they are.

    Args:
        parameters: With choices; those with a condition after those that it depends on.
        values: All fields.
    """
    if not parameters:
        yield values
        return
    parameter, *others = parameters
    choices: Sequence[Any] = [values[parameter.field]]
    if parameter.applies(values):
        assert isinstance(parameter.distribution, CategoricalDistribution)
        choices = parameter.distribution.choices
    for choice in choices:
        yield from _combinations(others, {**values, parameter.field: choice})


def _size(config: TrialConfig) -> int:
    """Product of a configuration's whole numbers: what it takes grows with each of them."""
    numbers = (value for name, value in asdict(config).items() if name not in SINGLE)
    return math.prod(max(1, value) for value in numbers if type(value) is int)


def _extreme(parameter: Parameter, default: Any, end: End) -> Any:
    """Of the whole numbers that are searched; the default of what is no whole number."""
    match parameter.distribution:
        case IntDistribution(low=low, high=high):
            return end((low, high))
        case CategoricalDistribution(choices=choices) if type(default) is int:
            return end(int(choice) for choice in choices if choice is not None)
    return _inside(parameter.distribution, default)


def _inside(distribution: BaseDistribution, default: Any) -> Any:
    """The default; the first choice where the user left the default out; the nearer end of a range
    that does not include it, such as one under a condition."""
    match distribution:
        case CategoricalDistribution(choices=choices) if default not in choices:
            return choices[0]
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return min(max(default, low), high)  # pyright: ignore[reportArgumentType]
    return default
