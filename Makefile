# The two commands of the README: `make study` and `make test`. Each sets up what it needs, once.

VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.complete

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder \
	--max-worker-restart 0

.PHONY: setup study test test-fast test-all check bench cluster-test ui

study: setup
	$(BIN)/python studies/gnn_sweep.py

test: setup
	$(PYTEST) -m 'not acceptance'

# Without Ray, MLflow or another process.
test-fast: setup
	$(PYTEST) tests/unit datasets trainables

# Also what takes long: the README's commands, browser, clusters, every moment to be killed at.
test-all: test
	$(PYTEST) -m 'acceptance and not alone'
	$(BIN)/python -m pytest -m alone

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/recording_cost.py
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/plain_study.py
	$(BIN)/python benchmarks/driving_step.py

# Both clusters end to end on this machine alone; as root, on Linux, with openssh-server and rsync.
cluster-test: setup
	$(BIN)/python tests/cluster/aws.py
	$(BIN)/python tests/cluster/on_prem.py

ui: setup
	@echo "open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///runs/mlflow.db

setup: $(SETUP)

# The stamp is written last: an interrupted set-up is done again. Everything is pinned; which build
# of that torch pip takes, with or without CUDA, is up to the package index it is set up with.
$(SETUP): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $(SETUP)
