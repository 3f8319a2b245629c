# make demo: install and run the main job.  make test: install if need be and run all tests.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
STAMP := .venv/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test check format bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	$(BIN)/python -c "open('$(STAMP)', 'w').close()"

demo: $(STAMP)
	$(BIN)/bci demo

# what needs no other process takes both cores; then, alone, what is real processes in real time
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not live"; pure=$$?; $(BIN)/python -m pytest -m live && exit $$pure

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/bci bench latency
	$(BIN)/bci bench command

clean:
	rm -rf .venv build dist *.egg-info
