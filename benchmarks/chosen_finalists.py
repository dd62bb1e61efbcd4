"""Which finalists of a recorded study an experiment of docs/results shows, by their numbers."""

from collections.abc import Mapping

from record.recorded_study import RecordedStudy
from record.trial import Trial


def trainings(study: RecordedStudy) -> Mapping[int, tuple[Trial, ...]]:
    """Number of a configuration -> its trainings whose scores no choice has flattered: the finals
    of each finalist; or, of a study without finals that tried a single configuration, that one."""
    if len(study.trials) == 1 and not study.finals:
        return {study.trials[0].number: study.trials}
    return study.finalists


def every_finalist(study: RecordedStudy) -> list[int]:
    """All configurations with `trainings` that were asked for: a baseline that is not the default,
    such as a preset that stands beside a grid, is left out."""
    return [
        number
        for number in trainings(study)
        if number in study.defaults or not study.trial(number).is_baseline
    ]


def best_of_each_group(study: RecordedStudy) -> list[int]:
    """The best trial of the search for each compared value, such as each family; it need not be a
    finalist."""
    found = [study.best(trials) for trials in study.groups.values()]
    return [trial.number for trial in found if trial is not None]


def champion(study: RecordedStudy) -> list[int]:
    """The finalist with the highest mean of the objective over fresh seeds."""
    return [] if study.champion is None else [study.champion.number]
