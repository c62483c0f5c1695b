"""Set up .venv from settings.ini and constraints.txt, once; `make` calls this by itself.

    python3 tools/bootstrap.py [PYTHON]    PYTHON: the interpreter to use, instead of looking

It needs only the standard library, and is written so that an old Python gets far enough to say
which version is needed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
INSIDE = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python")
LOG = os.path.join(VENV, "install.log")
READY = os.path.join(VENV, "ready")
VERSIONS = [(3, 13), (3, 12), (3, 11)]
NEEDED = "Python 3.11, 3.12 or 3.13"
GIGABYTES = 5

# A line of pip's log that tells what went wrong -> what to tell the reader
CAUSES = [
    ("No space left on device", "The disk is full. {0} GB are needed; free some, run this again."),
    ("name resolution", "The package index cannot be reached. Check the network, run this again."),
    (
        "NewConnectionError",
        "The package index cannot be reached. Check the network, run this again.",
    ),
    ("ConnectTimeout", "The package index does not answer. Check the network, run this again."),
    ("ReadTimeout", "The package index does not answer. Check the network, run this again."),
    ("SSLError", "The package index cannot be trusted (SSL). Check the proxy and its certificate."),
    ("ProxyError", "The proxy refuses the way to the package index. Check its settings."),
    ("Permission denied", "A file of .venv cannot be written. Check who owns the folder .venv."),
    (
        "No matching distribution",
        "A package has no version for this machine; the line above names it.",
    ),
]


def stop(sentence):
    "End with one sentence on what is missing."
    sys.exit("imgrec: " + sentence)


def version_of(python):
    "The version of the interpreter `python`, as (major, minor), or None if it does not run."
    ask = "import sys; print('%d %d' % sys.version_info[:2])"
    try:
        told = subprocess.check_output([python, "-c", ask], stderr=subprocess.STDOUT)
        return tuple(int(part) for part in told.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def choose(wanted):
    "The interpreter to build on: `wanted`, or the first good one on the path."
    if wanted:
        found = version_of(wanted)
        if found is None:
            stop("PYTHON={0} does not run. {1} is needed.".format(wanted, NEEDED))
        if found not in VERSIONS:
            stop("PYTHON={0} is {2}.{3}. {1} is needed.".format(wanted, NEEDED, *found))
        return wanted
    names = [sys.executable, "python3", "python3.13", "python3.12", "python3.11", "python"]
    seen = [(name, version_of(name)) for name in names]
    for name, version in seen:
        if version in VERSIONS:
            return name
    others = sorted({"%d.%d" % version for _, version in seen if version})
    stop(
        "{0} is needed, and only {1} was found. Install one, or name it: "
        "make PYTHON=/path/to/python3.12 demo".format(NEEDED, ", ".join(others) or "none")
    )


def check_modules(python):
    "Debian and Ubuntu ship Python without the modules that make an environment."
    for module in ["venv", "ensurepip"]:
        if subprocess.call([python, "-c", "import " + module], stderr=subprocess.DEVNULL):
            stop(
                "{0} lacks the module {1}. On Debian and Ubuntu: sudo apt install "
                "python{2}.{3}-venv".format(python, module, *version_of(python))
            )


def check_disk():
    "Enough room for the packages, and for unpacking them."
    for folder, needed in [(ROOT, GIGABYTES), (tempfile.gettempdir(), 2)]:
        free = shutil.disk_usage(folder).free / 1e9
        if free < needed:
            words = "{0:.1f} GB are free in {1}; {2} GB are needed. Free some, run this again."
            stop(words.format(free, folder, needed))


def show(line, count, started):
    "Report what pip does: one line that changes on a terminal, a line now and then in a log."
    words = line.split()
    unpacking = line.startswith("Installing collected")
    if not words or not (unpacking or words[0] in ("Collecting", "Downloading")):
        return
    what = "Unpacking (this takes a minute)" if unpacking else " ".join(words[:2])[:60]
    text = "{0:4.0f} s  {1}".format(time.time() - started, what)
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K" + text)
    elif count % 25 == 0 or unpacking:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def explain(lines):
    "The end of pip's log, and a sentence on what it means."
    tail = [line for line in lines if "error" in line.lower() or "ERROR" in line][-3:] or lines[-3:]
    sys.stderr.write("".join(tail))
    text = "".join(lines)
    for sign, sentence in CAUSES:
        if sign in text:
            stop(sentence.format(GIGABYTES))
    stop("The packages could not be installed. The whole story is in .venv/install.log")


def install():
    "Install the package and what developing it needs, telling how far it is."
    command = [INSIDE, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "-c", "constraints.txt", "-e", ".[dev]"]
    started, lines = time.time(), []
    with open(LOG, "w") as log:
        pip = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for count, line in enumerate(pip.stdout):
            log.write(line)
            lines.append(line)
            show(line, count, started)
        pip.wait()
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")
    if pip.returncode:
        explain(lines)
    print("Set up .venv in {0:.0f} s.".format(time.time() - started))


def main():
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    python = choose(wanted)
    if sys.version_info[:2] not in VERSIONS:  # what follows may use a newer Python
        os.execvp(python, [python, os.path.abspath(__file__)] + sys.argv[1:])
    there = version_of(INSIDE)
    if there not in VERSIONS or (wanted and there != version_of(python)):
        check_modules(python)
        check_disk()
        print("Setting up .venv with Python %d.%d, once." % version_of(python))
        if subprocess.call([python, "-m", "venv", "--clear", VENV]):
            stop("{0} could not make .venv; its message stands above.".format(python))
    install()
    with open(READY, "w") as ready:
        ready.write("Newer than settings.ini, setup.py and constraints.txt: nothing to install.\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("Stopped. Run it again and it goes on.")
    except OSError as problem:
        stop(str(problem))
