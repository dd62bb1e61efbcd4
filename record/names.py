"""Names of the tags, params, metrics and artifacts of a study in MLflow."""

# Tags of trials' runs.

KIND = "orrery.kind"
"""Tag with the kind of a run: ``study``, ``trial`` or ``final``."""

NUMBER = "orrery.trial"
REPLICATE_OF = "orrery.replicate_of"
"""Tag of a final with the number of the trial whose configuration it trains again."""

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
"""Tag with a trial's complete proposal (configuration, role, title), typed, as JSON."""

PLACEMENTS = "orrery.placements"
"""Tag with the latest placements of a trial, as JSON."""

REPLACED = "orrery.replaced"
"""Tag of a deleted run that this project, not the user, deleted, to record the trial again."""

DATA_DIGEST = "orrery.data"
DATA_FACT = "orrery.data."
"""Prefix of the tags with facts found in the data."""

# Tags of a study's run; `IDENTITY` is also a tag of its trials' runs.

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
"""Tags `FILE` and `FILE_DIGEST`: the file that defines a study; see `record.definition`."""

SPEC = "orrery.spec"
"""Tag of a study's run with all of its params, typed, as JSON."""

VERSION = "version."
"""Prefix of the tags with the versions of packages on the driver."""

# MLflow's own tags.

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
SOURCE = "mlflow.source.name"
SOURCE_COMMIT = "mlflow.source.git.commit"

# Params of a study's run; the params of a trial's run are the fields of its configuration.

STUDY = "study"
OBJECTIVE = "objective"
GROUP_BY = "group_by"
SEED = "seed"
PRESET = "preset"
SAMPLER = "sampler"
FROM = "from"
DIGEST = "data.digest"
OPTIONS, FACTS = "data.", "facts."
"""Prefixes of the params with a study's data options, and with facts found in the data."""

# Metrics.

EPOCH = "epoch"
"""Metric that is written last for each epoch: if it is present, the epoch is complete."""

MEMORY = "memory_gib"
BEST = "best/"
"""Prefix of the metrics of a study's run."""

# Artifacts.

SPACE = "space.json"
WEIGHTS = "weights"
