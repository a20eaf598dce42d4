"""The lecture's own program: `Model.fit`, the data in NumPy arrays, progress off."""

from stopwatch import Stopwatch

watch = Stopwatch(compiles=True)

import sys  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402

watch.end("import")

file, epochs, batch_size, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with np.load(file) as data:
    x_train, y_train, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
if pixels == "unit":
    x_train, x_test = x_train / 255.0, x_test / 255.0
watch.end("load")

model = keras.Sequential(
    [
        keras.layers.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
watch.end("compile")


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        watch.epoch_begins()

    def on_epoch_end(self, epoch, logs=None):
        watch.epoch_ends()


model.fit(x_train, y_train, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=[Clock()])
watch.end("train")

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
watch.end("evaluate")

import tensorflow as tf  # noqa: E402

gpus = tf.config.list_physical_devices("GPU")  # where there is one, TensorFlow trains on it
names = [tf.config.experimental.get_device_details(gpu).get("device_name", "unnamed") for gpu in gpus]
watch.tell(-(-len(x_train) // batch_size), accuracy, f"GPU: {names[0]}" if gpus else "CPU")
