# Needs Python 3.10 or newer, pip and make. Everything else is set up in .venv.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal # on all cores

.PHONY: demo test test-fast check weights studies gpu pictures reference clean

demo: .venv/ready ## the main job, end to end, in a few minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: .venv/ready ## all tests, and that they cover 90% of the branches
	$(PYTEST) --durations 25 --cov --cov-report=json:.coverage.json
	$(BIN)/python scripts/coverage_gate.py .coverage.json 90

test-fast: .venv/ready ## the quick tests, under a minute
	$(PYTEST) -m "not slow"

check: .venv/ready ## lint, format, types, and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "digitsum needs Python 3.10 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

OPTDIGITS = optdigits-orig.tra
weights: .venv/ready ## trains the bundled weights: hours; MNIST as for digitsum train, OPTDIGITS=FILE
	$(BIN)/digitsum train --arch reader --data mnist --set size=base --set ema_decay=0.998 --set guide=0.1667 --epochs 16 --batch-size 64 --lr 0.003 --out weights-start.pt --overwrite
	$(BIN)/python scripts/weights.py weights-start.pt --round 1 --run weights-1.pt
	$(BIN)/python scripts/weights.py weights-1.pt --round 2 --run weights-2.pt
	$(BIN)/python scripts/weights.py weights-2.pt --round 3 --run weights-3.pt
	$(BIN)/python scripts/weights.py weights-3.pt --round 4 --run weights-4.pt
	$(BIN)/python scripts/weights.py weights-4.pt --round 5 --run weights-5.pt
	$(BIN)/python scripts/weights.py weights-5.pt --round 6 --run weights-6.pt --optdigits $(OPTDIGITS)
	$(BIN)/python scripts/weights.py weights-6.pt --round 7 --run weights-7.pt --optdigits $(OPTDIGITS)
	$(BIN)/python scripts/weights.py weights-7.pt --round 8 --run weights-8.pt --optdigits $(OPTDIGITS)

STUDIES := confidence overlap digit_counts leak wrong_labels few_labels seeds
studies: .venv/ready ## the studies of docs/studies.md, resumed where they stopped: hours; MNIST as for digitsum train
	for study in $(STUDIES); do $(BIN)/python studies/$$study.py || exit 1; done
	$(BIN)/python studies/errors.py

gpu: ## all that is measured on a GPU, in nine minutes: make gpu MNIST=folder of its four .gz files
	$(PYTHON) benchmarks/gpu.py --mnist "$(MNIST)"

pictures: .venv/ready ## draws the pictures of README and docs again; MNIST as for digitsum train
	$(BIN)/python scripts/picture.py docs/strips.png reader --data mnist-test
	$(BIN)/python scripts/columns.py docs/columns.png reader --data mnist-test --row 7
	$(BIN)/digitsum report reader --data mnist-test --out report.html --overwrite
	$(BIN)/python scripts/screenshots.py report.html

reference: .venv/ready ## writes docs/commands.md and docs/api.md from the code
	$(BIN)/python scripts/reference.py

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
