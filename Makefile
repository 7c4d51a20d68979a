# The commands of this project: make figures, make test; make site, make test-site.

# An active conda environment named prunelib (environment.yml) is used as it is.
ifeq ($(CONDA_DEFAULT_ENV),prunelib)
BIN := $(CONDA_PREFIX)/bin
ENV :=
SITE :=
else
BIN := .venv/bin
ENV := .venv/made
SITE := .venv/site
endif
PYTHON ?= python3

.PHONY: figures test notebooks site test-site clean

# Train both miniatures from nothing at the profile coarse, and run every notebook on them. Sections
# 4 to 6, J, K and M have all they need; the others show what there is and say what is not run.
figures: export PRUNELIB_RESULTS := $(CURDIR)/out/miniature
figures: export PRUNELIB_FIGURES := $(CURDIR)/out/figures
figures: EXECUTE = $(BIN)/prunelib figures --executed out/notebooks --parameter profile=coarse
figures: $(ENV)
	$(BIN)/prunelib run --setting resnet8_digits --profile coarse --figure 3 --figure 4 --figure 6
	$(BIN)/prunelib run -s lenet_digits -p coarse -f 3 -f 4 -f 8 -f 9 -f 11 -f 12 -f 13 -f 14
	$(EXECUTE) $(CORE) --workers 2
	$(EXECUTE) $(LENET) --parameter setting=lenet_digits --parameter train=True
	$(EXECUTE) $(OTHERS) --parameter train=False --workers 2
	@echo "Executed notebooks are in out/notebooks, their figures in out/figures: begin with"
	@echo "out/notebooks/04_at_initialization.ipynb. In notebooks/ they show all that was run."

CORE := 04 05 06 J M
LENET := K
OTHERS := 00 01 03 A B C D E F G H I L S X Y Z

# Tests of campaigns start processes of their own, and some take their time: they run alone. Of what
# runs beside each other each has one thread: two would wait for each other.
test: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/campaigns
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore tests/campaigns -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval --nbval-current-env -n 2 --dist loadscope notebooks

# Refresh the committed notebooks, figures and the page of results from the committed results.
notebooks: $(ENV)
	$(BIN)/prunelib report
	$(BIN)/prunelib figures --in-place --workers 2

# The site, from the executed notebooks as they are committed: nothing is run, nothing is fetched.
site: $(SITE)
	$(BIN)/python -m prunelib.pages.site out/sources
	$(BIN)/sphinx-build --quiet --fail-on-warning --jobs auto out/sources out/site
	@echo "The site is in out/site: python -m http.server --directory out/site"

# In the Chromium that CHROMIUM or PATH names.
test-site: site
	$(BIN)/python -m pytest -m site tests/browser

.venv/made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "$(PYTHON) is Python %d.%d, 3.11 or newer is needed: name one, as make PYTHON=python3.12" \
	    % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --constraint constraints.txt --editable ".[test]"
	touch $@

.venv/site: .venv/made
	.venv/bin/python -m pip install --constraint constraints.txt --editable ".[site]"
	touch $@

clean:
	rm -rf out
