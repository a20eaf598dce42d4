"""Training, in this package and in programs of one's own: shapes, labels, gradients, callbacks, numbers."""

from mnist_mlp.doctor.failures.symptom import TRAIN, WARNING, Symptom

SYMPTOMS = (
    Symptom(
        "wrong-numbers",
        (
            r"loss['\"]?\s{0,3}[:=]?\s{0,3}nan\b",
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}nan\b",
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}[1-9]\.(?!0{1,9}(?!\d))\d{1,9}(?!\d|e|\s?%)",  # above 1
            # One class for every image: a tenth, or the share of MNIST's zeros (what nan gives) and ones.
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}0\.(10{0,3}|10{6,9}\d{0,9}|0980|097999\d{0,17}|0987|1135|113499\d{0,17})(?!\d|\s?%)",
        ),
        "on several devices: metrics or gradients are summed instead of averaged, or not shared between replicas; "
        "on one device: training diverged",
        f"run the same command with --replicas=1 and compare python -m mnist_mlp.evaluate of both: "
        f"if one device is wrong as well, run {TRAIN} --learning_rate=0.0001",
        "keras#19280, keras#21061, tensorflow#90686",
        WARNING,
    ),
    Symptom(
        "label-out-of-range",
        ("Received a label value of",),
        "a label is not one of 0 to the number of outputs minus 1; on a GPU the same gives nan without a message",
        "in your own program print labels.min(), labels.max() and the units of the last layer, and count labels from 0",
        "tensorflow#5932, tensorflow#4443",
    ),
    Symptom(
        "labels-and-loss",
        (
            r"Shapes \([^()]{1,60}\) and \([^()]{1,60}\) are incompatible",
            "Arguments `target` and `output` must have the same (rank|shape)",
            r"logits and labels must have the same (shape|first dimension)",
        ),
        "the loss does not fit the labels: class numbers need sparse_categorical_crossentropy, one-hot rows "
        "categorical_crossentropy",
        "in your own program use loss='sparse_categorical_crossentropy' for labels of shape [n], and as many units in "
        "the last layer as there are classes",
        "tensorflow#52060, keras#16228",
    ),
    Symptom(
        "input-shape",
        (
            "is incompatible with the layer",
            "Invalid input shape for input",
            r"Matrix size-incompatible: In\[0\]",
        ),
        "the images have another shape than the model was built for: one image needs the axis of the batch, a "
        "convolution the one of the channels",
        "in your own program use images[None] for one image, images[..., None] for [n, 28, 28, 1], and "
        "images.reshape(-1, 784) for a model without Flatten; run python -m mnist_mlp.predict --input FILE for "
        "pictures",
        "mrdbourke/tensorflow-deep-learning#495, keras#16228",
    ),
    Symptom(
        "number-of-inputs",
        (r"expects \d{1,2} (named )?inputs?(\(s\))?, but it received \d",),
        "a list was given where Keras takes a list for several inputs, often validation_data=[x, y]",
        "in your own program pass tuples and arrays: validation_data=(x, y), model.predict(np.stack(images))",
        "keras#14571, ageron/handson-ml2#131",
    ),
    Symptom(
        "arrays-of-objects",
        (
            "Failed to convert a NumPy array to a Tensor",
            "setting an array element with a sequence",
            "inhomogeneous shape after",
        ),
        "the array holds Python objects: rows of unequal length, images of unequal size, text or missing values",
        "in your own program print array.dtype and the set of the rows' shapes; make them equal, then np.stack(rows)"
        ".astype('float32')",
        "shenweichen/DeepCTR#286, colabtools#1515",
    ),
    Symptom(
        "data-type-unrecognized",
        ("Unrecognized data type: x=", "Failed to find data adapter that can handle input"),
        "Keras' fit takes arrays, tf.data datasets and PyDatasets, not lists of numbers or loaders of other packages",
        "in your own program use np.array(images) and np.array(labels)",
        "danielegrattarola/spektral#456, tensorflow#56489",
    ),
    Symptom(
        "no-gradients",
        ("No gradients provided for any variable",),
        "the loss does not depend on the weights as TensorFlow sees it: computed outside the tape, with NumPy, from "
        "argmax, or without labels",
        "in your own program compute predictions and loss within tf.GradientTape, with TensorFlow's functions alone, "
        "and pass model.trainable_variables",
        "keras#16663, tensorflow#48369",
    ),
    Symptom(
        "optimizer-argument",
        (
            r"Argument\(s\) not recognized: \{",
            r"lr` (argument )?is deprecated",
            r"decay is deprecated in the new Keras optimizer",
        ),
        "Keras' optimizers call it learning_rate since 2.3; a warning of older versions means that lr was ignored; "
        "decay was removed",
        "in your own program use learning_rate=…, and keras.optimizers.schedules for a decay; here --learning_rate and "
        "--schedule",
        "keras#17338, balajisrinivas/Face-Mask-Detection#29",
    ),
    Symptom(
        "metric-not-available",
        (
            r"conditioned on metric `?\w{1,40}`? which is not available",
            r"Can save best model only with \w{1,40} available",
        ),
        "a callback watches a number that this training does not report: no validation images, or another name "
        "(val_acc is now val_accuracy)",
        "in your own program monitor a key of history.history, and give fit validation_data",
        "keras#13689, nayash/stock_cnn_blog_pub#3",
        WARNING,
    ),
    Symptom(
        "data-ran-out",
        ("Your input ran out of data; interrupting training",),
        "the dataset held fewer batches than steps_per_epoch says, and training went on without them",
        "in your own program remove steps_per_epoch, or use dataset.repeat()",
        "tensorflow#64476, fizyr/keras-retinanet#1449",
        WARNING,
    ),
    Symptom(
        "predict-classes-removed",
        (r"has no attribute ['\"`]predict_(classes|proba)",),
        "Keras has had no predict_classes since 2.6",
        "in your own program use model.predict(images).argmax(axis=1); or run python -m mnist_mlp.predict",
        "keras#15838, keras#17156",
    ),
    Symptom(
        "model-never-called",
        ("has never been called and thus has no defined",),
        "a Sequential model knows its input and output only once it has an Input or has seen an image",
        "in your own program begin it with keras.Input(shape=(28, 28)), or use model.inputs and model.outputs after "
        "model.build",
        "keras#20116, keras#20339",
    ),
    Symptom(
        "batch-not-divisible",
        ("ZeroDivisionError: integer modulo by zero", "should evenly divide the shape"),
        "Keras or JAX splits a batch into equal parts, and its size is not a multiple of the number of devices; "
        "often it is the last batch",
        f"run {TRAIN} --replicas=N with any --batch_size: it pads and masks the last batch; in your own program "
        "drop the remainder",
        "keras#21167",
    ),
    Symptom(
        "stateless-apply",
        ("stateless_apply is not supported with the TensorFlow backend",),
        "Keras optimizers have stateless_apply only on JAX",
        "run export KERAS_BACKEND=jax, or call optimizer.apply",
        "observed in this project",
    ),
    Symptom(
        "merge-call",
        ("merge_call`? called while defining a new graph or a tf.function",),
        "the optimizer sums gradients across replicas inside a loop or a tf.function within strategy.run",
        "move the loop outside: for i in tf.range(n): strategy.run(step)",
        "observed in this project",
    ),
    Symptom(
        "function-retraced",
        (r"triggered tf\.function retracing",),
        "a function is compiled again and again, since it is made in a loop or called with ever new shapes or numbers: "
        "slow, but right",
        "in your own program define it once, outside the loop, and pass tensors of one shape; harmless after a few "
        "times",
        "tensorflow#34025, tensorflow#41347",
        WARNING,
    ),
    Symptom(
        "fork-with-jax",
        ("incompatible with multithreaded code, and JAX is multithreaded",),
        "a process that uses JAX was forked, and the copy may wait forever",
        "in your own program call multiprocessing.set_start_method('spawn') before JAX is used",
        "jax#18989, clearml/clearml#1315",
        WARNING,
    ),
)
