"""Names under which a study stands in MLflow: tags, params, metrics and artifacts."""

# Tags of the runs of trials.

KIND = "orrery.kind"
"""``study``, ``trial`` or ``final``: what a run is of."""

NUMBER = "orrery.trial"
REPLICATE_OF = "orrery.replicate_of"
"""Number of the trial that a final is another training of."""

STATE = "orrery.state"
BASELINE = "orrery.baseline"
REASON = "orrery.reason"
NODE = "orrery.node"
DEVICE = "orrery.device"
PROCESSOR = "orrery.processor"
THREADS = "orrery.threads"
COMMIT = "orrery.commit"
VERSIONS = "orrery.versions"
PROPOSED = "orrery.proposed"
"""Tag with all that was proposed of a trial, typed, as JSON."""

PLACEMENTS = "orrery.placements"
"""Tag with the latest placements of a trial, as JSON."""

REPLACED = "orrery.replaced"
"""Tag of a run among the deleted ones that the user did not delete: it is recorded anew."""

DATA_DIGEST = "orrery.data"
DATA_FACT = "orrery.data."
"""Begins the tags that say what was found in the data."""

# Tags of a study's run; `IDENTITY` is also one of its trials'.

IDENTITY = "orrery.identity"
QUESTION = "orrery.question"
COMMAND = "orrery.command"
ENVIRONMENT = "orrery.environment"
HOST = "orrery.host"
KEEP = "orrery.keep"
STORAGE = "orrery.storage"
SCHEDULER = "orrery.scheduler"
RUNGS = "orrery.rungs"
DEFAULTS = "orrery.defaults"
GPU_MEMORY = "orrery.gpu_memory_gib"
FINALISTS = "orrery.finalists"
BEST_TRIAL = "orrery.best_trial"
ENDED_BY = "orrery.ended_by"
TRIALS = "orrery.trials"
DATA_TITLE = "orrery.data_title"
FILE = "orrery.file"
FILE_DIGEST = "orrery.file_sha256"
"""Tags with the file that defines a study; see `record.definition`."""

SPEC = "orrery.spec"
"""Tag with all params of a study, typed, as JSON."""

VERSION = "version."
"""Begins the tags that say which version of a package the driver ran with."""

# MLflow's own tags.

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
SOURCE = "mlflow.source.name"
SOURCE_COMMIT = "mlflow.source.git.commit"

# Params of a study's run; those of a trial's are the fields of its configuration.

STUDY = "study"
OBJECTIVE = "objective"
GROUP_BY = "group_by"
SEED = "seed"
PRESET = "preset"
SAMPLER = "sampler"
DIGEST = "data.digest"
OPTIONS, FACTS = "data.", "facts."
"""Begin the params that say what a study was told to learn from, and what was found there."""

# Metrics.

EPOCH = "epoch"
"""The last metric of each epoch that is written: where it stands, the others do."""

MEMORY = "memory_gib"
BEST = "best/"
"""Begins the metrics of a study's run."""

# Artifacts.

SPACE = "space.json"
WEIGHTS = "weights"
