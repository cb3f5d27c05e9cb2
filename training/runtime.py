"""TensorFlow and Keras, set up once: the only place that imports them (about 10 s).

Import it lazily, in a worker's child: a process that is forked after this import hangs.
"""

from __future__ import annotations

import os

# TensorFlow writes an error about the missing GPU on every start; what really fails raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the processor
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

__all__ = ["keras", "tf"]

tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("BCFL_TRAIN_THREADS", "1")))
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.experimental.enable_op_determinism()
# Keras' own setting; a global float16 policy from elsewhere would change every blob.
keras.config.set_floatx("float32")
