# make demo: install into .venv, run the mini profile of every suite that has one, and one ablation (ABLATION=, of those that
# need no training).   make test: lint, types and tests.
# make benchmark: the table of benchmarks/README.md (an hour or more; QUICK=1: a few minutes, SPEECH=: where LibriSpeech is)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
MINI := $(sort $(shell grep -l "^  mini:" suites/*.yaml))
NEED_DATA := $(filter-out $(MINI),$(sort $(wildcard suites/*.yaml)))
ABLATION ?= suites/ablations/text-guidance.yaml
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test mini benchmark lint types clean

demo: $(VENV)/.demo
	@for suite in $(MINI); do \
	    echo "== metis-bench run $$suite"; $(BIN)/metis-bench run $$suite || exit $$?; \
	done
	@for suite in $(NEED_DATA); do echo "not run: $$suite has no mini profile, it needs a corpus (docs/corpora.md)"; done
	@echo "== metis-bench run $(ABLATION)"; $(BIN)/metis-bench run $(ABLATION)
	@echo "== metis-bench ablation latest --out runs/ablation"; $(BIN)/metis-bench ablation latest --out runs/ablation
	@echo; echo "Reports (open in a browser):"; ls -d $(CURDIR)/runs/*-mini-*/report/index.html $(CURDIR)/runs/ablation/*.html

test: $(VENV)/.test lint types
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=5

# hours on two cores; in slices with MINUTES=90, goes on where it was
mini: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/metis-train mini --work $(or $(WORK),mini-work) $(if $(MINUTES),--minutes $(MINUTES))

benchmark: $(VENV)/.test
	$(BIN)/python benchmarks/all.py $(if $(QUICK),--quick) $(if $(SPEECH),--speech "$(SPEECH)")

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch and setuptools first: packages built from source (pesq, pyworld, webrtcvad) then meet the pinned versions
$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(INSTALL) torch setuptools
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(INSTALL) -e ".[embedded]"
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(INSTALL) -e ".[embedded,text,ja,lips,asr,train,cluster,dev]"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) runs dist
