# `make demo` and `make test` do all their own set-up in .venv on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
NAME ?= all

.PHONY: demo demo-bundle test test-android bench lint format clean

demo: .venv/.base
	$(BIN)/cutpoint demo

test: .venv/.dev lint
	$(BIN)/python -W error -m pytest --ignore=tests/android

# Needs a JDK; see android_bridge/Makefile.
test-android: .venv/.dev
	$(MAKE) -C android_bridge test
	$(BIN)/python -W error -m pytest tests/android

bench: .venv/.dev
	$(BIN)/python -m tests.bench $(NAME)

# The bundle that ships with the demo; its network is trained by examples/train_scenes.py.
demo-bundle: .venv/.dev
	$(BIN)/python examples/make_bundle.py

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.base: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[calibrate,rl,tflite,dev]'
	touch $@ .venv/.base

clean:
	rm -rf android_bridge/build
	rm -rf .venv build dist bench .mypy_cache .ruff_cache .pytest_cache
