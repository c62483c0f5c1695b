"""From a folder of pictures to a classifier that is understood, tuned, measured and shipped."""

import os

from imgrec import _quiet

__version__ = "0.1.0"

# Must be set before TensorFlow loads; a value that the user has set wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_quiet.install()
