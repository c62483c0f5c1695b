"""A Ctrl-C that comes at a known moment."""

import signal

import keras


class PressCtrlC(keras.callbacks.Callback):
    "Presses Ctrl-C after so many batches of training, or of validation; keeps nothing in a run."

    def __init__(self, train=0, test=0):
        super().__init__()
        self.train, self.test = train, test

    def on_train_batch_end(self, batch, logs=None):
        self.train -= 1
        if self.train == 0:
            signal.raise_signal(signal.SIGINT)

    def on_test_batch_end(self, batch, logs=None):
        self.test -= 1
        if self.test == 0:
            signal.raise_signal(signal.SIGINT)

    def get_state(self):
        return None

    def set_state(self, state):
        pass
