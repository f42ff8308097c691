# `make` alone prints what there is
VENV ?= .venv
PYTHON ?= python3
NB ?= $(wildcard nbs/*.ipynb nbs/*/*.ipynb nbs/*/*/*.ipynb)
BIN = $(VENV)/bin

# Stamps are named by what the requirements say, not by dates: the files of a fresh clone are newer than any environment
requirements := $(shell cat requirements.txt requirements-dev.txt settings.ini setup.py | cksum | cut -d' ' -f1)

# Cells marked `#| mnist` are tested where the data are. Notebooks run in their own folder, so the path must be absolute
ifdef CONVVAE_DATA
ifeq ($(filter /%,$(CONVVAE_DATA)),)
override CONVVAE_DATA := $(CURDIR)/$(CONVVAE_DATA)
endif
export CONVVAE_DATA
flags := mnist
endif

.PHONY: help install install-dev demo lab lab-sheet export readme notebooks check mutants test test-slow test-newest test-oldest lint test-notebooks pytest weights bench docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s%s\n", $$1, $$2}' Makefile

$(VENV)/%.$(requirements):
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r $*
	rm -f $(VENV)/$*.*
	touch $@
	pwd > $(VENV)/clone

# An environment may serve several clones in turn: the editable install has to be this one
point_here = @[ "$$(cat $(VENV)/clone)" = "$$(pwd)" ] || \
	{ $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . && pwd > $(VENV)/clone; }

install: $(VENV)/requirements.txt.$(requirements) ## make .venv and install the package and JupyterLab
	$(point_here)

install-dev: $(VENV)/requirements-dev.txt.$(requirements) $(VENV)/fastcore2 ## install also what tests and export need
	$(point_here)

# nbdev wants fastcore 1, a user's pip finds the newest: the commands are tested with both
$(VENV)/fastcore2: | $(VENV)/requirements-dev.txt.$(requirements)
	$(BIN)/python -m pip install --quiet --no-deps --target $@ 'fastcore>=2'

# Few latents and a dear rate: draws from the prior then seldom fall where the model has seen no digit
demo: install ## train on real handwritten digits, evaluate, leave the pictures in runs/digits
	$(BIN)/convvae_train --data digits --latent_dim 8 --beta 2 --epochs 60 --batch_size 64 --lr 4e-3 --out runs/digits --overwrite
	$(BIN)/convvae_evaluate --run runs/digits

lab: install ## open the notebooks in JupyterLab
	$(BIN)/jupyter-lab nbs $(if $(filter 0,$(shell id -u)),--allow-root)

export: install-dev ## write the package from the notebooks, and clean them
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: install-dev ## write README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

notebooks: install-dev ## run notebooks top to bottom and save their outputs: make notebooks NB=nbs/package/00_data.ipynb
	$(BIN)/python tools/run_notebooks.py $(NB)
	$(BIN)/nbdev_clean

# Every part runs, whatever became of the one before; pytest is last, so that its count is the last line
test: install-dev ## all that CI checks: lint, notebooks, and tests/ (export, clean and README leave the tree unchanged, ...)
	@failed=; for part in lint test-notebooks pytest; do \
		echo "== $$part"; $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; [ -z "$$failed" ] || { echo "make test: FAILED in:$$failed"; exit 1; }

# The loop of someone who changes a line; CONTRIBUTING.md says which tests belong to which notebook
check: install-dev ## export and run one notebook, and its tests: make check NB=nbs/package/02_loss.ipynb
	$(BIN)/nbdev_export
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path $(NB) --n_workers 0 --timing --flags "$(flags)"
	OMP_NUM_THREADS=1 $(BIN)/python tools/tests_of.py $(NB) | xargs $(BIN)/pytest -n 2

# Not in CI: half a minute for each of hundreds of faults. Stopped, it goes on; what survived is tried again
mutants: install-dev ## plant faults, one at a time, and see that a check turns red: make mutants ONLY=loss, N=20, JOBS=2
	$(BIN)/python tools/mutants.py $(ONLY) $(if $(N),--n $(N)) $(if $(JOBS),--jobs $(JOBS))

test-slow: flags += slow
test-slow: test-notebooks ## the notebooks with their long cells too

lint: install-dev ## ruff
	$(BIN)/ruff check

# Two notebooks at a time with one thread each: torch would start a thread per core in both
test-notebooks: install-dev ## run every notebook; with its MNIST cells where CONVVAE_DATA is set
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2 --timing --flags "$(flags)"

pytest: install-dev ## run tests/
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# What users get, whom no development tool holds back: commands, data and models again, with fastcore 2
# and in an environment with the oldest versions that settings.ini allows, where libraries warn of each other
users = $(wildcard $(patsubst %,tests/test_%.py,cli command_options commands_embed data batches sources_* \
	model layers zoo_* pinned saving_hub train running_* sample measures_*))
OLDEST = .venv-oldest
oldest = $(OLDEST)/settings.$(shell cksum < settings.ini | cut -d' ' -f1)
asked_for = from configparser import ConfigParser; ini = ConfigParser(delimiters="="); \
	ini.read("settings.ini"); print(*ini["DEFAULT"]["requirements"].split(), sep="\n")

$(oldest):
	rm -rf $(OLDEST) && $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/python -c '$(asked_for)' > $(OLDEST)/requirements.txt
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --resolution lowest-direct -r $(OLDEST)/requirements.txt
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python pytest pytest-xdist
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --no-deps -e .
	touch $@

test-newest: install-dev ## commands, data and models with the fastcore that a user gets
	PYTHONPATH=$(CURDIR):$(abspath $(VENV))/fastcore2 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(users)

test-oldest: $(oldest) ## commands, data and models with the oldest versions that settings.ini allows: 6 GB once
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -o filterwarnings=default -n 2 $(users)

# Always from nothing, which takes seconds: what is there can't be stale. The site that was there stays until the new one is whole
docs: install-dev ## the site, from the notebooks: _docs/index.html
	rm -rf build/docs
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/docs/trees nbs build/docs/html
	rm -rf _docs && mv build/docs/html _docs

lab-sheet: install-dev ## the book for a class: build/lab/student without solutions, build/lab/teacher with them
	$(BIN)/python tools/lab_sheet.py

# Forty minutes on two cores, a few of them for glyphs. Stopped, it goes on where it was
weights: install-dev ## train the models in convvae/weights, with their cards: on glyphs, and on MNIST
	$(BIN)/convvae_train --data glyphs --conditional --latent_dim 8 --epochs 50 --ema 0.999 --out runs/glyphs --resume
	$(BIN)/convvae_evaluate --run runs/glyphs
	$(BIN)/python tools/weights.py runs/glyphs
	for z in 2d 16; do \
		$(BIN)/convvae_train --data mnist --binarize --latent_dim $${z%d} --epochs 20 --ema 0.999 --out runs/mnist_$$z --resume && \
		$(BIN)/convvae_evaluate --run runs/mnist_$$z && $(BIN)/python tools/weights.py runs/mnist_$$z || exit 1; \
	done

# Keras and Pythae, in an environment of their own: it sees the packages of $(VENV), so torch is there but once, and changes none of them
PEERS = .venv-peers
peers = $(PEERS)/requirements.$(shell cksum < benchmarks/requirements.txt | cut -d' ' -f1)
purelib = import sysconfig; print(sysconfig.get_path("purelib"))

$(peers): | install
	test -x $(PEERS)/bin/pip || $(BIN)/python -m venv $(PEERS)
	$(BIN)/python -c '$(purelib)' > "$$($(PEERS)/bin/python -c '$(purelib)')/convvae.pth"
	$(PEERS)/bin/python -m pip install -r benchmarks/requirements.txt
	rm -f $(PEERS)/requirements.*
	touch $@

# Figures, not a test: they depend on the machine and on what else it does. Half an hour; benchmarks/*.json is what they were on ours
bench: install $(peers) ## a minute beside three peers, the cost of growth, how fast fit trains and a folder is read; shorter: make bench N=2000 ONLY=convvae,torch
	$(BIN)/python benchmarks/one_minute.py --peers $(PEERS) $(if $(ONLY),--only $(ONLY))
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/folder.py $(if $(N),--n $(N))

clean: ## delete what building and testing leave behind; runs/ and the environment stay
	rm -rf build dist _docs _proc *.egg-info .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +
