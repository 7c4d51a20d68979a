# The two commands of this project: make figures, make test.

# An active conda environment named prunelib (environment.yml) is used as it is.
ifeq ($(CONDA_DEFAULT_ENV),prunelib)
BIN := $(CONDA_PREFIX)/bin
ENV :=
else
BIN := .venv/bin
ENV := .venv/made
endif
PYTHON ?= python3

.PHONY: figures test notebooks clean

# Train the miniature, all 18 sparsities and 5 replicates, from nothing; run every notebook on it.
figures: export PRUNELIB_RESULTS := $(CURDIR)/out/miniature
figures: $(ENV)
	$(BIN)/prunelib run --setting lenet_digits --profile paper --figure 3 --figure 4
	$(BIN)/prunelib figures --executed out/notebooks --parameter setting=lenet_digits

test: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval --nbval-current-env notebooks

# Refresh the committed notebooks, figures and the page of results from the committed results.
notebooks: $(ENV)
	$(BIN)/prunelib report
	$(BIN)/prunelib figures --in-place

.venv/made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf out
