"""Exported models in other programs: ONNX Runtime, LiteRT, TensorFlow Serving."""

from mnist_mlp.doctor.failures.symptom import Symptom

SYMPTOMS = (
    Symptom(
        "onnx-file-too-new",
        ("Unsupported model IR version",),
        "the .onnx file was written by a newer onnx than this ONNX Runtime reads",
        "run pip install -U onnxruntime where it runs; python -m mnist_mlp.export writes IR version 8 of 2022, which "
        "ONNX Runtime reads since 1.10",
        "microsoft/onnxruntime#20559, microsoft/onnxruntime#23602",
    ),
    Symptom(
        "onnx-opset-too-new",
        (
            r"guarantees\*? support for models stamped with",
            r"is under development and support for this is limited",
        ),
        "the .onnx file asks for newer operators than this ONNX Runtime has",
        "run pip install -U onnxruntime; python -m mnist_mlp.export writes opset 17 of 2022",
        "microsoft/onnxruntime#5905, onnxsim/onnxsim#289",
    ),
    Symptom(
        "onnx-input-type",
        ("Unexpected input data type",),
        "the array has another type than the model's input, often NumPy's float64 for float32",
        "in your own program print session.get_inputs()[0].type and use images.astype(…) with it: np.float32 for most "
        "models, np.uint8 for those of python -m mnist_mlp.export",
        "onnx/keras-onnx#323, microsoft/onnxruntime#4787",
    ),
    Symptom(
        "onnx-input-name",
        ("Invalid Feed Input Name", "are missing from input feed"),
        "the model's input has another name than the one that was fed",
        "in your own program use session.get_inputs()[0].name; in files of python -m mnist_mlp.export it is images",
        "onnx/onnx#2099",
    ),
    Symptom(
        "onnx-input-shape",
        ("Got invalid dimensions for input", "Invalid rank for input"),
        "the array has another shape than the model's input",
        "in your own program print session.get_inputs()[0].shape; of python -m mnist_mlp.export it is [batch, 28, 28], "
        "so one image is image[None]",
        "microsoft/onnxruntime#16557, OleehyO/TexTeller#91",
    ),
    Symptom(
        "litert-operators",
        ("Regular TensorFlow ops are not supported by this interpreter", r"Select TensorFlow op\(s\), included in"),
        "the .tflite file uses operators of TensorFlow that LiteRT alone does not have",
        "run it with tf.lite.Interpreter, or convert it without SELECT_TF_OPS; python -m mnist_mlp.export "
        "--format=litert uses LiteRT's own operators only",
        "tensorflow#40157, tensorflow#62097",
    ),
    Symptom(
        "litert-input",
        ("Cannot set tensor: ",),
        "the array has another type or shape than the model's input, or another order of the inputs was assumed",
        "in your own program print interpreter.get_input_details(), use images.astype with the dtype there, and call "
        "resize_tensor_input before allocate_tensors for more than one image",
        "tensorflow#34296, breizhn/DTLN#6",
    ),
    Symptom(
        "serving-without-version",
        ("No versions of servable",),
        "TensorFlow Serving looks for a numbered folder, MODEL/1/saved_model.pb, and found none",
        "give it the folder that holds the folder 1: mkdir -p MODEL/1, move saved_model.pb and variables there, and "
        "start it with --model_base_path=MODEL",
        "tensorflow/serving#1831, tensorflow/serving#266",
    ),
)
