"""One run of one study's command line.

Check what was typed, open the data, open the study's log and show it in MLflow, run trials, keep
the weights of the best, analyse. Nothing is written before all of the input is known to be good.
"""

import os
import platform
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import filelock
from rich.console import Console
from upath import UPath

from datasets.addresses import shown
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from record import names
from record.events import SessionBegan
from record.folder import StudyFolder
from record.state import StudyState
from record.tracker import NotRecorded
from record.tracking import check_answers
from record.values import plain
from studies import preflight
from studies.agenda import Agenda
from studies.budgets import Limits, Stop
from studies.checkpoints import Checkpoints
from studies.command_line import CommandLine
from studies.conclusion import Conclusion
from studies.display import Display, with_progress
from studies.gpu_share import GPUShare, first_share, needed_gib, trials_a_gpu, usable_gpus
from studies.history import utc_now
from studies.interrupts import interruptible
from studies.lease import check_free, lease
from studies.opening import OpenStudy, log_of, open_study
from studies.options import LONGEST_NAME, part_of_a_name
from studies.projection import Projection
from studies.proposers import Proposer, Search
from studies.provenance import of_this_code
from studies.question import spec_of
from studies.replicates import Replicates
from studies.retention import Retention
from studies.rungs import rungs
from studies.search_memory import SearchMemory
from studies.space import Space
from studies.study import Study, StudyData
from studies.trials import Trials
from trainables.config import FitConfig
from trainables.rehearsal import Rehearsal

RESERVED = ("artifacts", "mlflow.db", "mlflow.db.lock", "mlflow.db.partial", "default")
"""Names in the runs folder, and of experiments, that are no study's."""

NO_USE = "--mps is of no use here: no two trials share a GPU"

PATIENCE = 30.0
"""Seconds to wait at the end for a tracking server that is away."""


class Runner(Protocol):
    """Runs a study's trials, on Ray or in this process."""

    def rehearse_all(
        self, configs: Sequence[FitConfig], say: Callable[[str], None]
    ) -> list[Rehearsal]:
        """Rehearses configurations, each with the resources of a trial, or a whole GPU."""
        ...

    def share_gpus(self, needed_gib: float | None) -> GPUShare | None:
        """Decides how many trials share a GPU, of which each needs so much memory at most, where
        that is known; None: a trial has it to itself."""
        ...

    def concurrent_trials(self) -> int:
        """How many trials run at once."""
        ...

    def memory_of_a_trial(self) -> float:
        """GiB that there are for each of them."""
        ...

    def run_trials(self, trials: Trials, session: str) -> None:
        """Runs trials, in a session of this name, until none is left or the session is to end."""
        ...


class Session:
    """A command line, checked.

    Args:
        study: What is asked.
        typed: How.
        arguments: The same, as typed, for the record.
        console: Where progress and results are shown.

    Raises:
        InputError: If it cannot be done.
    """

    def __init__(
        self, study: Study[Any], typed: CommandLine, arguments: Sequence[str], console: Console
    ) -> None:
        typed = _tiny(study, typed) if typed.options.smoke else typed
        self.study = study
        self.options = typed.options
        self.data_options = typed.data
        self.given = typed.given
        self.script = sys.argv[0]
        self.command = shlex.join(["python", self.script, *map(shown, arguments)])
        self.console = console
        self.seed = int(self.given.get("seed", [0])[0])
        self.name = self.options.name or self._default_name()
        self.code = of_this_code()
        self._space({})
        _check_writable(self.options.runs_dir)
        _check_writable(self.options.data_dir)
        check_answers(self.options.tracking_uri)
        if self.name.lower() in RESERVED:
            raise InputError(f"--name {self.name} is taken by MLflow's own files: choose another")
        self.storage = self._shared()
        self.folder = StudyFolder(self.options.runs_dir, self.name, self.storage)
        self.gpus = self._resources()
        self.gpus_are_shared = False
        self.needed_gib: float | None = None

    def _shared(self) -> UPath | None:
        if self.options.storage is None:
            return None
        from studies.storage import open_storage

        return open_storage(self.options.storage)

    def _resources(self) -> float:
        """GPUs of each trial, as far as they are known now, once it is known that there is room
        for one."""
        asked = self.options.gpus_per_trial
        if self.options.cluster is None:
            if self.options.cpus_per_trial > (there := cores()):
                raise InputError(
                    f"--cpus-per-trial {self.options.cpus_per_trial}: expected at most {there}, "
                    "the cores that this process may use"
                )
            if not self.options.local:
                from studies.ray_cluster import check_sockets

                check_sockets()
            there = usable_gpus(self._say) if asked else 0
            return first_share(asked, there, "this machine has")
        if self.options.mps:
            raise InputError(
                "--mps starts NVIDIA's MPS on this machine only: on a cluster its nodes start it, "
                "docs/cluster.md says how"
            )
        from studies import nodes
        from studies.ray_cluster import start
        from studies.storage import check_nodes

        start(self.options.cluster)
        check_nodes(self.storage)
        most = max((node.gpus for node in (*nodes.alive(), *nodes.to_come())), default=0)
        gpus = first_share(asked, int(most), "a node has at most")
        nodes.check_room(self.options.cpus_per_trial, gpus)
        if not any(node.holds(self.options.cpus_per_trial, gpus) for node in nodes.alive()):
            self._say("no node holds a trial yet; the cluster starts some, which takes minutes")
        return gpus

    def _default_name(self) -> str:
        """Made of what is asked; a column or a file may be called as no study can be."""
        parts = [self.options.preset or "", "smoke" * self.options.smoke]
        after = "".join(f"-{part}" for part in parts if part)
        room = LONGEST_NAME - len(f"{self.study.key}-{after}")
        return f"{self.study.key}-{self._data_title(room)}{after}"

    def _data_title(self, longest: int) -> str:
        """What is learned from, as a part of a name: without passwords of an address."""
        return part_of_a_name(shown(self.study.data_title(self.data_options)), longest)

    def _space(self, decided: Mapping[str, Sequence[Any]]) -> Space:
        """The search space, once the data have had their say."""
        name = self.options.preset
        if name is not None and name not in self.study.presets:
            raise InputError(f"unknown --preset {name}: expected {', '.join(self.study.presets)}")
        preset = self.study.presets[name] if name else None
        baseline = self.study.presets[self.study.baseline] if self.study.baseline else None
        given = {**decided, **self.given}
        return Space.of(self.study.config, self.study.by, given, preset, baseline)

    def run(self) -> int:
        """Runs the study; returns the exit code."""
        if self.folder.store is not None and not self.options.dry_run:
            # Before anything takes minutes.
            check_free(self.folder, self._say)
        with self._mps():
            return self._run()

    def _run(self) -> int:
        parallel = with_progress(self._parallel(), self.console)
        cache = Cache(self.options.data_dir, self.folder.prepared_data)
        data = self.study.open_data(self.data_options, self.seed, cache, parallel, self._say)
        space = self._space(data.decided)
        if data.check is not None:
            for value in space.compared:
                data.check(space.corner(value, max))
        runner = self._runner(data)
        if self._is_rehearsed():
            self._rehearse(space, runner)
            if self.options.dry_run:
                return 0
        begun = time.monotonic()
        with self._locked():
            conclusion = self._conclusion(data, space)
            try:
                return self._search_and_train_again(runner, space, conclusion, begun)
            except BaseException:
                conclusion.cut_off()
                raise

    def _mps(self) -> AbstractContextManager[None]:
        """NVIDIA's MPS, where it was asked for and trials may share a GPU."""
        if not self.options.mps:
            return nullcontext()
        may_share = self.options.gpus_per_trial == "auto" or trials_a_gpu(self.gpus) > 1
        if self.options.local or not (self.gpus and may_share):
            self._say(NO_USE)
            return nullcontext()
        import ray

        from studies.mps import mps

        return mps(self._say, ray.shutdown)

    def _share_gpus(self, runner: Runner, needed_gib: float | None) -> None:
        """Lets the runner decide, once, how many trials share a GPU, if the user did not."""
        if self.options.gpus_per_trial != "auto" or not self.gpus or self.gpus_are_shared:
            return
        self.gpus_are_shared = True
        share = runner.share_gpus(needed_gib)
        if share is not None:
            self._say(share.text())
            if self.options.mps and share.trials == 1:
                self._say(NO_USE)

    def _search_and_train_again(
        self, runner: Runner, space: Space, conclusion: Conclusion, begun: float
    ) -> int:
        """The search, then its finals; returns the exit code."""
        state = conclusion.open.state
        search = Search(state, self._memory(space, state))
        trials, projection, left = self._run_trials(
            runner, search, conclusion, self._limits(space)
        )
        cost = self._cost(conclusion.open, projection, time.monotonic() - begun)
        code = conclusion.searched(trials, left, cost)
        if code is None and self.options.best_count:
            finals = Replicates(state, space, self.options.best_count, self.options.seeds)
            self._say(finals.text())
            conclusion.begin(finals)
            limits = Limits(finals.total, self.options.time_budget, begun=begun)
            trials, _, left = self._run_trials(runner, finals, conclusion, limits)
            code = conclusion.trained_again(trials, left)
        return conclusion.finish() if code is None else code

    def _memory(self, space: Space, state: StudyState) -> SearchMemory:
        sampler, objective = self.options.sampler, self.study.objective
        return SearchMemory(space, sampler, self.seed, objective, trials=state.search())

    def _conclusion(self, data: StudyData, space: Space) -> Conclusion:
        """What will end the session, with what is known of the study."""
        uri = self.options.tracking_uri
        checkpoints = Checkpoints(UPath(self.folder.sessions))
        begin = partial(self._begin, data, space, checkpoints)
        try:
            opened = open_study(self.folder, uri, begin, self._say)
        except NotRecorded as error:
            raise InputError(
                f"the tracking store {shown(uri)} does not answer ({error}); the same command "
                "tries again"
            ) from error
        return Conclusion(
            self.study, self.options, opened, checkpoints, self.command, self.console
        )

    def _begin(
        self, data: StudyData, space: Space, checkpoints: Checkpoints, state: StudyState
    ) -> SessionBegan:
        """How this session begins."""
        if checkpoints.sessions and not state.sessions:
            raise InputError(
                f"{checkpoints.root} has checkpoints of a study whose log is gone: bring the log "
                "back, move the checkpoints away, or choose another --name"
            )
        return SessionBegan(
            session=f"session-{len(state.sessions) + 1:04d}",
            identity=state.session.identity if state.sessions else uuid.uuid4().hex,
            objective=self.study.objective,
            direction="maximize",
            spec=spec_of(self.study, self.options, self.data_options, self.seed, data, space),
            space=plain(space.searched()),
            settings=self._settings(space, state),
            at=utc_now(),
        )

    def _settings(self, space: Space, state: StudyState) -> dict[str, str]:
        """What may change from session to session, as tags of the study's run."""
        needed = self.needed_gib or _measured_before(state)
        return {
            names.QUESTION: self.study.question,
            names.DATA_TITLE: self._data_title(LONGEST_NAME),
            names.COMMAND: self.command,
            names.KEEP: str(self.options.keep),
            names.STORAGE: str(self.folder.sessions) if self.folder.storage is not None else "",
            names.SCHEDULER: "none" if self.options.local else self.options.scheduler,
            names.DEFAULTS: ", ".join(map(str, space.defaults_at())),
            names.ENVIRONMENT: self._environment(),
            names.RUNGS: ", ".join(map(str, rungs(space.epochs))),
            names.SOURCE: self.script,
            names.SOURCE_COMMIT: self.code.commit,
            names.HOST: platform.node(),
            **{names.VERSION + each: version(each) for each in ("ray", "torch", "optuna")},
            **({names.GPU_MEMORY: f"{needed:.3f}"} if needed else {}),
        }

    def _is_rehearsed(self) -> bool:
        """Whether there is a pre-flight: before the first trial, and whenever it is asked for; not
        for a debugger's sake, nor for a study that takes no longer than its pre-flight."""
        quick = self.options.local or self.options.smoke
        return self.options.dry_run or not (quick or log_of(self.folder).is_there())

    def _rehearse(self, space: Space, runner: Runner) -> None:
        begun = time.monotonic()
        configs = preflight.corners(space)
        done = runner.rehearse_all(configs, self._say)
        self.needed_gib = needed_gib(done) if self.gpus else None
        self._share_gpus(runner, self.needed_gib)
        forecast = preflight.Forecast(
            space,
            dict(zip(configs, done, strict=True)),
            trials=min(self.options.trials, space.largest or self.options.trials),
            finals=self.options.seeds
            * (self.options.best_count + 1 if self.options.best_count else 0),
            concurrent=runner.concurrent_trials(),
            keep=self.options.keep,
            memory=runner.memory_of_a_trial(),
        )
        self.console.print(forecast.table())
        self._say(f"{forecast.text()} (pre-flight: {time.monotonic() - begun:.1f} s)\n")
        forecast.check(self.folder.storage or self.options.runs_dir)

    def _cost(self, opened: OpenStudy, projection: Projection, seconds: float) -> str:
        """What it cost to keep the records, and to bring MLflow up to them."""
        recording = opened.history.seconds + projection.seconds
        share = (recording + opened.seconds) / seconds
        return (
            f"recording {recording:.1f} s and bringing MLflow up to date {opened.seconds:.1f} s "
            f"of {seconds:.0f} s: {share:.1%}"
        )

    def _runner(self, data: StudyData) -> Runner:
        if self.options.local:
            from studies.local_runner import LocalRunner as Chosen
        else:
            from studies.ray_runner import RayRunner as Chosen
        return Chosen(data.make_task, self.options, self.gpus)

    def _parallel(self) -> ParallelMap:
        if self.options.local:
            return map
        from studies.ray_cluster import ray_map

        return ray_map(self.options.cluster)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder.lock, timeout=0), self._leased():
                yield
        except filelock.Timeout:
            raise InputError(
                f"the study {self.name} is running in another process: wait for it, or give this "
                "one a --name of its own"
            ) from None

    def _leased(self) -> AbstractContextManager[None]:
        if self.folder.store is None:
            return nullcontext()
        return lease(self.folder, self._say)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def _environment(self) -> str:
        """The variables that set an option's default, as a shell takes them, and no others: a
        variable of another name may be anything, and what is recorded is published."""
        options = (*fields(self.options), *fields(self.data_options))
        taken = [each.name for each in options if not isinstance(each.default, bool)]
        names = sorted(f"ORRERY_{name.upper()}" for name in taken)
        there = {name: os.environ.get(name) for name in names}
        return shlex.join(f"{name}={shown(value)}" for name, value in there.items() if value)

    def _limits(self, space: Space) -> Limits:
        return Limits(
            min(self.options.trials, space.largest or self.options.trials),
            self.options.time_budget,
            self.options.target_metric,
            self.options.plateau,
        )

    def _run_trials(
        self, runner: Runner, proposer: Proposer, conclusion: Conclusion, limits: Limits
    ) -> tuple[Trials, Projection, list[int]]:
        """Runs what is left to run of the search, or of its finals; also returns the trials that
        MLflow does not know wholly."""
        history, checkpoints = conclusion.open.history, conclusion.checkpoints
        state = history.state
        agenda = Agenda(state, proposer, limits)
        retention = Retention(state, checkpoints, self.study.by, self.options.keep)
        retention.sweep()
        nodes = self.options.cluster is not None
        display = Display(self.console, agenda, state.best(), nodes)
        projection = Projection(conclusion.open.tracker, history, self._say)
        trials = Trials(
            history,
            agenda,
            checkpoints,
            self.code,
            observers=(retention, display, projection),
            max_failures=self.options.max_failures,
            say=self._say,
        )
        display.live = trials.live
        self._say(f"study {self.name}: {agenda.ended} of {agenda.total} {proposer.called} done")
        undelivered: list[int] = []
        try:
            if not agenda.is_done() and not agenda.should_stop():
                self._share_gpus(runner, self.needed_gib or _measured_before(state))
                with display, interruptible(agenda, self._say):
                    runner.run_trials(trials, state.session.session)
        except KeyboardInterrupt:
            agenda.halt(Stop("interrupted", "interrupted"))
        except OSError as error:
            agenda.trouble(error)
        finally:
            trials.finish()
            undelivered = projection.finish(0.0 if agenda.was_cut_short() else PATIENCE)
        return trials, projection, undelivered


def _tiny(study: Study[Any], typed: CommandLine) -> CommandLine:
    """The same command on little data, for two epochs, with one trial of what is tried first."""
    given = {"epochs": [2], **typed.given}
    baseline = study.presets[study.baseline] if study.baseline else None
    first = Space.of(study.config, study.by, given, reference=baseline).first()
    asked = typed.options.finalists
    options = replace(
        typed.options,
        trials=len(first),
        finalists=1 if asked is None else min(1, asked),
        seeds=min(2, typed.options.seeds),
    )
    return CommandLine(options, replace(typed.data, **study.smoke), given)


def _measured_before(state: StudyState) -> float | None:
    """GiB of a GPU that the pre-flight of an earlier session has found to be enough; None: there
    was none."""
    if not state.sessions or names.GPU_MEMORY not in state.session.settings:
        return None
    return float(state.session.settings[names.GPU_MEMORY])


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}): choose another --runs-dir or "
            "--data-dir, or change its permissions"
        ) from error
