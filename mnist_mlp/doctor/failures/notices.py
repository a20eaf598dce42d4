"""Messages that alarm and mean nothing bad."""

from mnist_mlp.doctor.failures.symptom import HARMLESS, Symptom

QUIET = "nothing to do; to hide it run export TF_CPP_MIN_LOG_LEVEL=1"

SYMPTOMS = (
    Symptom(
        "onednn-notice",
        ("oneDNN custom operations are on",),
        "TensorFlow uses Intel's library, whose sums may differ in the last digits",
        "nothing to do; to have the same digits everywhere run export TF_ENABLE_ONEDNN_OPTS=0",
        "tensorflow#61688, tensorflow#62781",
        HARMLESS,
    ),
    Symptom(
        "cpu-features-notice",
        (
            "This TensorFlow binary is optimized",
            "Your CPU supports instructions that this TensorFlow binary was not compiled to use",
            "in other operations, rebuild TensorFlow with the appropriate compiler flags",
        ),
        "the processor can do more than the wheel uses in its rarer operations",
        QUIET,
        "tensorflow#51987, serizba/cppflow#139",
        HARMLESS,
    ),
    Symptom(
        "cuda-factory-notice",
        (
            r"Unable to register cu(DNN|FFT|BLAS|SOLVER) factory",
            r"Attempting to register factory for plugin cu",
            "computation placer already registered",
        ),
        "TensorFlow's GPU wheel registers its libraries twice; they work",
        "nothing to do: the programs of this package hide it",
        "tensorflow#62075, openxla/xla#20803",
        HARMLESS,
    ),
    Symptom(
        "tensorrt-notice",
        ("Could not find TensorRT",),
        "TensorRT, an extra for inference that nothing here uses, is not installed",
        QUIET,
        "tensorflow#64809, keras-team/keras-io#1794",
        HARMLESS,
    ),
    Symptom(
        "numa-notice",
        ("NUMA node read from SysFS had negative value", "could not open file to read NUMA node"),
        "the kernel does not say which part of the memory is next to the GPU",
        QUIET,
        "tensorflow#42738, tensorflow#53184",
        HARMLESS,
    ),
    Symptom(
        "log-notice",
        (r"All log messages before absl::InitializeLog\(\) is called are written to STDERR",),
        "it says where the following lines are written",
        "nothing to do: the programs of this package hide it",
        "bmaltais/kohya_ss#3320",
        HARMLESS,
    ),
    Symptom(
        "end-of-data-notice",
        (r"Local rendezvous is aborting with status: OUT_OF_RANGE", "StartAbort Out of range: End of sequence"),
        "a dataset was read to its end",
        QUIET,
        "tensorflow#62963, tensorflow#31509",
        HARMLESS,
    ),
    Symptom(
        "input-shape-notice",
        ("Do not pass an `input_shape`/`input_dim` argument to a layer",),
        "Keras 3 prefers keras.Input(shape) as the first layer; the model is the same",
        "nothing to do; in your own program write keras.Input((28, 28)) first",
        "shap/shap#3971, vlawhern/arl-eegmodels#50",
        HARMLESS,
    ),
    Symptom(
        "h5-notice",
        ("saving your model as an HDF5 file",),
        "Keras prefers .keras files to .h5 ones; the file is complete",
        "nothing to do; in your own program use model.save('model.keras')",
        "keras#19375",
        HARMLESS,
    ),
    Symptom(
        "protobuf-notice",
        (r"Protobuf gencode version [\d.]{3,20} is exactly one major version older",),
        "TensorFlow was made with the protobuf before the installed one, which is allowed",
        "nothing to do; pip install -U tensorflow brings a newer one",
        "tensorflow#98980",
        HARMLESS,
    ),
    Symptom(
        "jax-backend-notice",
        (
            r"Unable to initialize backend '(rocm|tpu_driver|plugin|metal|interpreter)'",
            r"Unable to initialize backend 'tpu': (INTERNAL: Failed to open libtpu|INVALID_ARGUMENT: TpuPlatform is "
            r"not|module 'jaxlib)",
        ),
        "JAX tries every kind of device, and this kind is not here",
        "nothing to do, unless you asked for that device with JAX_PLATFORMS: then its plug-in is not installed",
        "google-research/multinerf#12, ikostrikov/walk_in_the_park#5",
        HARMLESS,
    ),
    Symptom(
        "float64-notice",
        ("Explicitly requested dtype",),
        "JAX computes in float32 unless told otherwise",
        "nothing to do; in your own program use np.float32, or run export JAX_ENABLE_X64=1",
        "enpasos/jax2onnx#101",
        HARMLESS,
    ),
    Symptom(
        "broken-pipe-notice",
        ("BrokenPipeError", r"Errno 32\] Broken pipe"),
        "what read the output, such as head, has ended before the program",
        "nothing to do; for all of the output use less, or write it to a file",
        "python/cpython#90650, Backblaze/B2_Command_Line_Tool#1071",
        HARMLESS,
    ),
)
