# make setup · run · check · test · bench · bench-kernel · long · fuzz · vm · vmtest · docs; "make help" says what each does.

VENV := .venv
BIN := $(VENV)/bin
# one for each form of the package: changing FANFP_PURE installs anew
export FANFP_PURE
SETUP := $(VENV)/.setup-done$(if $(filter-out 0,$(FANFP_PURE)),-pure)
# what the compiled modules are made of: they and what they may import
COMPILED_FROM := $(shell find src -name '*.py' -not -path '*/cli/*' -not -path '*/_probes/*') \
	$(shell find src -name '*.c' -o -name '_*.h') $(wildcard bpf/*.c bpf/include/*.h)

# As root the tests that need root must run: there, a skip for want of root is a failure.
export FP_REQUIRE_ROOT ?= $(if $(filter 0,$(shell id -u)),1,)

# exec: a signal that ends make is passed on to the child, which must be the one that can tidy up
PYTEST := exec $(BIN)/python -m pytest
# the scenarios once more, by an ordinary user through the daemon (see tests/scenarios/users.py)
BY_USER := exec env FP_ENGINE=daemon $(BIN)/python -m pytest tests/scenarios
# a machine shares the root directory, which only root can
VM_TESTS := @if [ "$$(id -u)" != 0 ]; then echo "make: not run, for it needs root: tools/vm test" >&2; exit 0; fi; \
	exec $(BIN)/python tools/vm test

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench bench-kernel long fuzz vm vmtest docs lint clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(SETUP) ## install what is missing: Debian packages, .venv, the package; PYTHON=... picks the interpreter, FANFP_PURE=1 compiles nothing

$(SETUP): pyproject.toml hatch_build.py tools/setup.sh $(COMPILED_FROM)
	@rm -f $(VENV)/.setup-done*
	@tools/setup.sh $(VENV)
	@touch $@

run: $(SETUP) ## watch DIR until Ctrl-C; without DIR: a demonstration on a filesystem of its own (VERBOSE=1: all events)
ifdef DIR
	@$(BIN)/fanfp watch "$(DIR)"
else
	@$(BIN)/python tools/demo.py $(if $(VERBOSE),--verbose)
endif

test: $(SETUP) lint ## pass all tests: here, the scenarios once more through the daemon, then in a virtual machine with each kernel
	$(PYTEST) -m "not long and not vm"
	export FP_WORK=$${FP_WORK:-0.25}; $(BY_USER) -m "not long"
	$(VM_TESTS)

check: $(SETUP) lint ## the quick tier of test, under two minutes
	$(PYTEST) -m "not long and not vm" -x $(wildcard tests/unit tests/compiler tests/cli tests/docs tests/scenarios/test_subtree.py)

long: $(SETUP) ## the tests that take minutes each, here and in the virtual machines
	$(PYTEST) -m long --timeout 3600
	$(BY_USER) -m long -k "not million" --timeout 3600
	@PYTHONPATH=tests $(BIN)/python -m compiler.drawing.before  # the machines are slow at compiling
	$(VM_TESTS) --long --timeout 20000

fuzz: $(SETUP) ## look for packets and connections that break the daemon, SECONDS=60 each (its tool is installed then)
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check atheris
	@exec $(BIN)/python tools/fuzz.py $(SECONDS)

bench: $(SETUP) ## print the benchmark
	$(BIN)/python -m bench

bench-kernel: $(SETUP) ## print the benchmark that counts instructions, in a virtual machine (KERNEL=6.1: another series; root)
	@exec $(BIN)/python tools/vm run $(if $(KERNEL),--kernel $(KERNEL)) --icount -- $(BIN)/python -m bench.counted

vm: export FP_VM_CMD := $(value CMD)
vm: $(SETUP) ## a shell, or CMD='...', in a virtual machine with Debian's kernel (KERNEL=6.1: another series; root)
	@exec $(BIN)/python tools/vm run $(if $(KERNEL),--kernel $(KERNEL)) $${FP_VM_CMD:+-- sh -c "$$FP_VM_CMD"}

vmtest: $(SETUP) ## pass the tests of the machines, then TESTS inside each kernel (KERNEL=6.1: only in that one)
	$(PYTEST) -m vm tests/vm
	@exec $(BIN)/python tools/vm test $(if $(KERNEL),--kernel $(KERNEL)) $(if $(TESTS),-- $(TESTS))

docs: $(SETUP) ## build the API reference as HTML into build/docs
	@$(BIN)/python tools/build_docs.py build/docs

lint: $(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell

clean: ## remove what was built and installed here
	find src -name "*.so" -delete
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
