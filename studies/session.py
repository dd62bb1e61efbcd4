"""One run of one study's command line.

Check what was typed, open the data, open Optuna's journal and MLflow's runs (new ones, or those of
the study that is continued), run trials, keep the weights of the best, analyse. Nothing is written
before all of the input is known to be good.
"""

import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import filelock
from rich.console import Console
from upath import UPath

from analysis.runs import COMMIT, DEFAULTS, ENVIRONMENT, FACTS, OPTIONS, RUNGS, SCHEDULER
from analysis.texts import number
from datasets.addresses import shown
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from record.tracking import check_answers
from studies import preflight
from studies.budgets import Limits, Stop
from studies.checkpoints import Checkpoints, opened
from studies.command_line import CommandLine
from studies.conclusion import Conclusion
from studies.display import Display, with_progress
from studies.finals import Finals
from studies.gpu_share import GPUShare, first_share, needed_gib, trials_a_gpu, usable_gpus
from studies.interrupts import interruptible
from studies.lease import Lease, check_free, lease
from studies.ledger import Keeping, Ledger
from studies.options import LONGEST_NAME, part_of_a_name
from studies.provenance import of_this_code
from studies.reconcile import Memories
from studies.reconcile import mend as mend_memories
from studies.recording import GPU_MEMORY, KEEP, STORAGE, NotRecorded, Recorder
from studies.records import Records
from studies.rungs import rungs
from studies.search import Search, mend
from studies.shared_copy import SharedCopy
from studies.space import Space
from studies.study import Study, StudyData
from trainables.config import FitConfig
from trainables.rehearsal import Rehearsal

RESERVED = ("artifacts", "mlflow.db", "mlflow.db.lock", "mlflow.db.partial", "default")
"""Names in the runs folder, and of experiments, that are no study's."""

JOURNAL = "optuna.log"
LEDGER = "ledger"
SESSIONS = "trials"
"""What a study's folder holds: Optuna's journal, the ended trials, the checkpoints by session."""

STUDIES, DATA = "studies", "data"
"""Folders of all studies and of prepared data in the shared storage."""

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

    def run_trials(self, ledger: Ledger, session: str) -> None:
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
        self.folder = self.options.runs_dir / self.name
        self.reconciling = 0.0
        self.code = of_this_code()
        self._space({})
        _check_writable(self.options.runs_dir)
        _check_writable(self.options.data_dir)
        check_answers(self.options.tracking_uri)
        if self.name.lower() in RESERVED:
            raise InputError(f"--name {self.name} is taken by MLflow's own files: choose another")
        self.storage = self._shared()
        self.store = store = self.storage / STUDIES / self.name if self.storage else None
        self.sessions = store / SESSIONS if store else opened(str(self.folder / SESSIONS))
        self.copy = SharedCopy(store, self.folder / JOURNAL, Records(self.folder / LEDGER))
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
        if self.store is not None and not self.options.dry_run:
            check_free(self.store, self.folder, self._say)  # before anything takes minutes
        with self._mps():
            return self._run()

    def _run(self) -> int:
        parallel = with_progress(self._parallel(), self.console)
        cache = Cache(self.options.data_dir, self.storage / DATA if self.storage else None)
        data = self.study.open_data(self.data_options, self.seed, cache, parallel, self._say)
        if data.check is not None:
            space = self._space(data.decided)
            for value in space.compared:
                data.check(space.corner(value, max))
        runner = self._runner(data)
        if self._is_rehearsed():
            self._rehearse(data, runner)
            if self.options.dry_run:
                return 0
        begun = time.monotonic()
        with self._locked():
            self._take()
            conclusion = self._conclusion(data)
            try:
                return self._search_and_train_again(runner, conclusion, begun)
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

    def _search_and_train_again(self, runner: Runner, conclusion: Conclusion, begun: float) -> int:
        """The search, then its finals; returns the exit code."""
        search = conclusion.search
        ledger, left = self._run_trials(runner, search, conclusion, self._limits(search))
        cost = self._cost(ledger, time.monotonic() - begun)
        code = conclusion.searched(ledger, left, cost)
        finals = Finals(search, self.options.best_count, self.options.seeds)
        if code is None and self.options.best_count:
            self._say(finals.text())
            conclusion.begin(finals)
            limits = Limits(finals.total, self.options.time_budget, begun=begun)
            ledger, left = self._run_trials(runner, finals, conclusion, limits)
            code = conclusion.trained_again(ledger, left)
        return conclusion.finish(finals) if code is None else code

    def _conclusion(self, data: StudyData) -> Conclusion:
        """What will end the session, with what is known of the study."""
        checkpoints = Checkpoints(self.sessions)
        try:
            search, recorder = self._open(data, checkpoints)
        except NotRecorded as error:
            uri = shown(self.options.tracking_uri)
            raise InputError(
                f"the tracking store {uri} does not answer ({error}); the same command tries again"
            ) from error
        return Conclusion(
            self.study,
            self.options,
            self.folder,
            checkpoints,
            self.command,
            self.console,
            search,
            recorder,
        )

    def _is_rehearsed(self) -> bool:
        """Whether there is a pre-flight: before the first trial, and whenever it is asked for; not
        for a debugger's sake, nor for a study that takes no longer than its pre-flight."""
        quick = self.options.local or self.options.smoke
        begun = (self.folder / JOURNAL).is_file() or self.copy.is_there()
        return self.options.dry_run or not (quick or begun)

    def _rehearse(self, data: StudyData, runner: Runner) -> None:
        space = self._space(data.decided)
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
        forecast.check(self.storage or self.options.runs_dir)

    def _cost(self, ledger: Ledger, seconds: float) -> str:
        """What it cost to keep the records, and to keep them straight."""
        recording = ledger.seconds + ledger.delivery.seconds
        share = (recording + self.reconciling) / seconds
        return (
            f"recording {recording:.1f} s and reconciling {self.reconciling:.1f} s of "
            f"{seconds:.0f} s: {share:.1%}"
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
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / "lock", timeout=0), self._leased() as held:
                self.copy.lease = held
                yield
        except filelock.Timeout:
            raise InputError(
                f"the study {self.name} is running in another process: wait for it, or give this "
                "one a --name of its own"
            ) from None

    def _leased(self) -> AbstractContextManager[Lease | None]:
        if self.store is None:
            return nullcontext()
        return lease(self.store, self.folder, self._say)

    def _spec(self, data: StudyData) -> dict[str, Any]:
        """What the study is: continuing it under another spec would mix two questions."""
        return {
            "study": self.study.key,
            "objective": self.study.objective,
            "data": {**asdict(self.data_options), "digest": data.digest},
            "seed": self.seed,
            "preset": self.options.preset,
            "sampler": self.options.sampler,
            "space": self._space(data.decided).describe(),
            "version": version("orrery"),
            **({"storage": str(self.storage)} if self.storage else {}),
        }

    def _take(self) -> None:
        """The study as the shared storage knows it, if this disk does not."""
        if (taken := self.copy.take()) is not None:
            self._say(f"study {self.name}: {taken}")

    def _open(self, data: StudyData, checkpoints: Checkpoints) -> tuple[Search, Recorder]:
        """Optuna's journal and MLflow's runs, if they are of one study.

        Raises:
            InputError: If they are not, or MLflow's store does not answer.
        """
        uri = self.options.tracking_uri
        recorder = Recorder(
            uri,
            self.name,
            self.options.runs_dir / "artifacts",
            trial_tags={
                "orrery.data": data.digest,
                **{f"orrery.data.{name}": str(value) for name, value in data.facts.items()},
            },
        )
        another = InputError(
            f"the tracking store {shown(uri)} and {self.folder} do not know the same study "
            f"{self.name}: one of them is another one's, or was removed; choose another --name"
        )
        if recorder.identity is not None and not (self.folder / JOURNAL).is_file():
            raise another
        for said in mend(self.folder / JOURNAL):
            self._say(said)
        search = self._search(data)
        # MLflow's database may be another one, where a head's disk was lost: it is told again.
        told_anew = recorder.identity is None and search.ended > 0
        if told_anew and self.storage is None:
            raise another
        if recorder.identity not in (None, search.key):
            raise another
        if told_anew:
            self._begin_recording(recorder, search, data)
        self._reconcile(search, recorder, checkpoints)
        self.copy.bring_up()
        if not told_anew:
            self._begin_recording(recorder, search, data)
        return search, recorder

    def _reconcile(self, search: Search, recorder: Recorder, checkpoints: Checkpoints) -> None:
        """Repairs what an earlier session left when it died, and says so."""
        begun = time.monotonic()
        mended, left = mend_memories(
            Memories(
                search,
                Records(self.folder / LEDGER),
                recorder,
                checkpoints,
                self.study.objective,
                self.study.by,
                self.options.keep,
            )
        )
        for finding in (*mended, *left):
            trial = "the study" if finding.trial is None else f"trial {finding.trial}"
            self._say(f"{trial}: {finding.what}; {finding.cure}")
        self.reconciling = time.monotonic() - begun

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def _search(self, data: StudyData) -> Search:
        return Search(
            journal=self.folder / JOURNAL,
            name=self.name,
            space=self._space(data.decided),
            sampler=self.options.sampler,
            seed=self.seed,
            spec=self._spec(data),
        )

    def _begin_recording(self, recorder: Recorder, search: Search, data: StudyData) -> None:
        recorder.open(
            identity=search.key,
            question=self.study.question,
            params={
                "study": self.study.key,
                "objective": self.study.objective,
                "by": self.study.by,
                "seed": self.seed,
                "preset": self.options.preset or "none",
                "sampler": self.options.sampler,
                "version": version("orrery"),
                **{OPTIONS + name: value for name, value in asdict(self.data_options).items()},
                "data.digest": data.digest,
                **{FACTS + name: value for name, value in data.facts.items()},
            },
            tags={
                "orrery.command": self.command,
                KEEP: str(self.options.keep),
                STORAGE: str(self.sessions) if self.storage else "",
                SCHEDULER: "none" if self.options.local else self.options.scheduler,
                DEFAULTS: ", ".join(map(str, search.space.defaults_at())),
                ENVIRONMENT: self._environment(),
                RUNGS: ", ".join(map(str, rungs(search.space.epochs))),
                "mlflow.source.name": self.script,
                "mlflow.source.git.commit": self.code[COMMIT],
                "orrery.host": platform.node(),
                **{f"version.{name}": version(name) for name in ("ray", "torch", "optuna")},
                **({GPU_MEMORY: f"{self.needed_gib:.3f}"} if self.needed_gib else {}),
            },
            data=(
                self._data_title(LONGEST_NAME),
                data.digest,
            ),
            space=search.space.searched(),
        )

    def _environment(self) -> str:
        """The variables that set an option's default, as a shell takes them, and no others: a
        variable of another name may be anything, and what is recorded is published."""
        options = (*fields(self.options), *fields(self.data_options))
        taken = [each.name for each in options if not isinstance(each.default, bool)]
        names = sorted(f"ORRERY_{name.upper()}" for name in taken)
        there = {name: os.environ.get(name) for name in names}
        return shlex.join(f"{name}={shown(value)}" for name, value in there.items() if value)

    def _limits(self, search: Search) -> Limits:
        return Limits(
            min(self.options.trials, search.space.largest or self.options.trials),
            self.options.time_budget,
            self.options.target_metric,
            self.options.plateau,
        )

    def _run_trials(
        self,
        runner: Runner,
        search: Search | Finals,
        conclusion: Conclusion,
        limits: Limits,
    ) -> tuple[Ledger, list[int]]:
        """Runs what is left to run of the search, or of its finals; also returns the trials that
        MLflow does not know wholly."""
        checkpoints = conclusion.checkpoints
        ledger = Ledger(
            search,
            conclusion.recorder,
            Keeping(Records(self.folder / LEDGER), checkpoints, self.copy),
            objective=self.study.objective,
            by=self.study.by,
            limits=limits,
            keep=self.options.keep,
            max_failures=self.options.max_failures,
            say=self._say,
            code=self.code,
        )
        display = Display(
            self.console,
            self.study.objective,
            ledger.total,
            search.ended,
            search.best(),
            nodes=self.options.cluster is not None,
        )
        ledger.on_change = display.changed
        self._say(f"study {self.name}: {search.ended} of {ledger.total} {search.called} done")
        try:
            if not ledger.is_done() and not ledger.should_stop():
                self._share_gpus(runner, _measured_before(conclusion.recorder))
                with display, interruptible(ledger, self._say):
                    runner.run_trials(ledger, self._next_session(checkpoints))
        except KeyboardInterrupt:
            ledger.halt(Stop("interrupted", "interrupted"))
        except OSError as error:
            ledger.trouble(error)
        finally:
            undelivered = ledger.finish(patience=0.0 if ledger.was_cut_short() else PATIENCE)
        return ledger, undelivered

    def _next_session(self, checkpoints: Checkpoints) -> str:
        """Counted: the clock may have gone back since the last one, and names tell the age."""
        names = (name for name in checkpoints.sessions if name.startswith("session-"))
        return f"session-{max((int(name.split('-')[1]) for name in names), default=0) + 1:04d}"


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


def _measured_before(recorder: Recorder) -> float | None:
    """GiB of a GPU that the pre-flight of an earlier session has found to be enough; None: there
    was none, or MLflow does not know of it any more."""
    tags = recorder.parent_run.data.tags if recorder.parent_run else {}
    return number(GPU_MEMORY, tags[GPU_MEMORY]) if GPU_MEMORY in tags else None


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
