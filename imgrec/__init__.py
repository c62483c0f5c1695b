"""From a folder of pictures to a classifier that is understood, tuned, measured and shipped."""

import os

__version__ = "0.1.0"

# Both must be set before TensorFlow loads; a value that the user has set wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
