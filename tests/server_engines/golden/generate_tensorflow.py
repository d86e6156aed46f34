"""Writes what TensorFlow itself writes: a SavedModel with a variable, and a quantised TensorFlow Lite model.

    pip install tensorflow-cpu==2.21.0
    python generate_tensorflow.py

TensorFlow is more than a gigabyte, so it is no tool of the tests. The weights are those of `harness.iris`. The second
model takes bytes from 0 to 255 for numbers from 0 to 1; `answers` are its own interpreter's.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
NAME = f"tensorflow-{tf.__version__}"
ROWS = [[0, 64, 100, 120], [110, 0, 30, 7]]  # small, for processors whose products of bytes saturate at 15 bits


def main() -> None:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    module = tf.Module()
    module.weights = tf.Variable(weights, name="weights")
    function = tf.function(lambda x: {"probabilities": tf.nn.softmax(x @ module.weights)})
    concrete = function.get_concrete_function(tf.TensorSpec([None, 4], tf.float32, name="x"))
    tf.saved_model.save(module, HERE / NAME, signatures=concrete)

    def samples() -> Iterator[list[Any]]:
        for seed in range(50):
            yield [np.random.default_rng(seed).random((1, 4)).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(HERE / NAME))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    content = converter.convert()
    (HERE / f"{NAME}.tflite").write_bytes(content)
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    answers = []
    for row in ROWS:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.array([row], np.uint8))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].tolist())
    (HERE / f"{NAME}.json").write_text(json.dumps({"rows": ROWS, "answers": answers}) + "\n")


if __name__ == "__main__":
    main()
