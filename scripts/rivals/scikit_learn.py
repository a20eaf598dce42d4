"""The network as scikit-learn's MLPClassifier, with Adam as everywhere."""

from stopwatch import Stopwatch

watch = Stopwatch()

import sys  # noqa: E402
import warnings  # noqa: E402

import numpy as np  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402

watch.end("import")

file, epochs, batch_size, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
scale = np.float32(255 if pixels == "unit" else 1)  # float32: it computes in that, and faster than in float64
with np.load(file) as data:
    x_train, y_train = data["x_train"].reshape(-1, 784) / scale, data["y_train"]
    x_test, y_test = data["x_test"].reshape(-1, 784) / scale, data["y_test"]
watch.end("load")

warnings.simplefilter("ignore", ConvergenceWarning)  # it would go on: five epochs are what is compared
# alpha: no L2 penalty, and as many epochs as the others.
model = MLPClassifier((128, 64), batch_size=batch_size, max_iter=epochs, alpha=0.0, n_iter_no_change=epochs + 1)
watch.end("compile")

model.fit(x_train, y_train)  # all epochs in one call
watch.end("train")

accuracy = model.score(x_test, y_test)
watch.end("evaluate")
watch.tell(-(-len(x_train) // batch_size), float(accuracy))
