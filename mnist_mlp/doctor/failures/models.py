"""Files of models and weights."""

from mnist_mlp.doctor.failures.symptom import WARNING, Symptom

SYMPTOMS = (
    Symptom(
        "model-of-another-keras",
        (
            r"Unrecognized keyword arguments( passed to \w{1,40})?: ",
            r"Error when deserializing class ['\"`]\w{1,40}['\"`] using config",
        ),
        "the file was written by another major version of Keras than the one that reads it: Keras 2 does not know "
        "batch_shape, Keras 3 not batch_input_shape or time_major",
        "run pip install -U 'keras>=3.10' 'tensorflow>=2.18' where the model is read; a file of Keras 2 reads with pip "
        "install tf_keras and tf_keras.models.load_model",
        "tensorflow#64685, haverland/Tenth-of-step-of-a-meter-digit#32",
    ),
    Symptom(
        "savedmodel-in-keras-3",
        ("Keras 3 only supports V3", "File format not supported: filepath="),
        "Keras 3 loads .keras and .h5 files; this is a folder of a SavedModel, or has another ending",
        "in your own program use keras.layers.TFSMLayer(DIR, call_endpoint='serving_default') or "
        "tf.saved_model.load(DIR)",
        "cbrnr/sleepecg#214, unicode-org/lstm_word_segmentation#28",
    ),
    Symptom(
        "unknown-layer",
        (
            r"Unknown (layer|object|metric function|loss function|activation function|optimizer): ",
            r"Could not locate (class|function) ['\"`]",
        ),
        "the file names a class of its author's own, which this program has not defined",
        "in your own program import that class before load_model, or pass custom_objects={'NAME': NAME}; never load a "
        "file of unknown origin so",
        "colabtools#4753, keras#19899",
    ),
    Symptom(
        "lambda-layer",
        ("Requested the deserialization of a `?Lambda`? layer",),
        "the file holds Python code (a Lambda layer), which Keras does not run unasked",
        "if you trust its author, load it with safe mode turned off; better, write the layer as a class",
        "keras#18284",
    ),
    Symptom(
        "model-file-damaged",
        ("file signature not found", "truncated file: eof", "Unable to find a valid file signature"),
        "the file is not HDF5, or not all of it is there: an interrupted download or save, a Git LFS pointer, a web "
        "page",
        "run head -c 100 FILE: readable text is not a model; then download or train it again",
        "keras#19164, keras#8546",
    ),
    Symptom(
        "model-file-ending",
        (
            r"must end in `\.(keras|weights\.h5)`",
            "Invalid filepath extension for saving",
        ),
        "Keras 3 saves models to .keras files, and weights to .weights.h5 files, alone",
        "in your own program name it model.keras; for TensorFlow Serving and LiteRT use model.export(DIR), or run "
        "python -m mnist_mlp.export",
        "keras-team/keras-io#1844, menouarazib/eventdetector#3",
    ),
    Symptom(
        "optimizer-not-restored",
        (
            "Skipping variable loading for optimizer",
            "Error in loading the saved optimizer state",
        ),
        "the weights were loaded, the optimizer's state was not: going on with training begins with a fresh optimizer",
        "compile the model with the same optimizer before loading, or ignore it if you only predict; here --resume "
        "restores both, bit for bit",
        "keras#20128, IVPLatNU/DeepCovidXR#4",
        WARNING,
    ),
    Symptom(
        "pickle-in-arrays",
        ("Object arrays cannot be loaded when allow_pickle=False",),
        "the .npy or .npz file holds Python objects, and reading them would run code from the file",
        "save it anew as numbers, np.save(FILE, np.stack(rows).astype('uint8')), where you trust it",
        "keras#12729, eyalzk/sketch_rnn_keras#1",
    ),
    Symptom(
        "h5py-3-with-old-keras",
        (r"object has no attribute ['\"`]decode",),
        "a Keras older than 2.4 reads a file with h5py 3, which returns text in place of bytes",
        "run pip install -U 'keras>=3.10' 'tensorflow>=2.18'; in an environment that has to stay old, pip install "
        "'h5py<3'",
        "lasigeBioTM/BiOnt#4, TKassis/OrgaQuant#15",
    ),
    Symptom(
        "layer-of-another-keras",
        (r"Only instances of `?keras\.Layer`? can be added", "added layer must be an instance of class"),
        "layers of two libraries are mixed: Keras 3 and tf_keras (or TensorFlow Hub and Probability, which use it), or "
        "keras and tensorflow.keras of old",
        "in your own program import everything from one of them, keras; with TensorFlow Hub run pip install tf_keras "
        "and export TF_USE_LEGACY_KERAS=1",
        "tensorflow#70164, keras#11848",
    ),
)
