# Five commands. The first one that runs also sets up .venv, once: 3 GB, and 5 GB while it does.
# Another Python than the one on the path: make PYTHON=/path/to/python3.12 demo

unexport PYTHONDONTWRITEBYTECODE # with it, TensorFlow is compiled anew at every import
PYTHON ?=
FOUND := $(firstword $(foreach name,$(PYTHON) python3 python3.13 python3.12 python3.11 python,\
	$(shell command -v '$(name)' 2>/dev/null)))
RUN := .venv/bin/python
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root) # as in a container; it hears this machine only

.PHONY: demo test lab docs bench

demo: .venv/ready  # train a first classifier, with progress: demo/first_classifier.html
	@$(RUN) tools/demo.py

test: .venv/ready  # run every notebook and every test
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

lab: .venv/ready  # open the tutorials in JupyterLab
	@$(RUN) -m jupyterlab nbs --LabApp.default_url=/lab/tree/tutorials $(AS_ROOT)

docs: .venv/ready  # build the site into _docs/, offline, and check its links
	@$(RUN) tools/docs.py site

bench: .venv/ready  # run nbs/benchmarks/ and store what was measured
	@$(RUN) tools/notebooks.py bench

.venv/ready: settings.ini setup.py constraints.txt
	@$(if $(FOUND),,$(error Python was not found. Install Python 3.11, 3.12 or 3.13, and run this again))
	@$(FOUND) tools/bootstrap.py $(PYTHON)
