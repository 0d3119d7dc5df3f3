"""Run with a folder: writes small Keras models into it, and what `get_weights` says they hold.

A process of its own, as Keras reads its backend from the environment and changes global state.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib


def everything() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="in_dense"), layers.Dense(2, name="out")], name="inner"
    )
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(4, 3, name="first")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(x)
    x = layers.SeparableConv2D(5, 3, name="apart")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.BatchNormalization(name="norm_without_scale", scale=False)(x)
    x = layers.Conv2DTranspose(6, 3, name="up")(x)
    x = layers.GroupNormalization(2, name="groups")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = inner(layers.Dense(4, use_bias=False, name="head")(x))
    words = keras.Input((7,), name="words")
    y = layers.Embedding(11, 4, name="table")(words)
    y = layers.Conv1D(5, 3, name="line")(y)
    y = layers.LSTM(3, return_sequences=True, name="lstm")(y)
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True, name="gru"), name="both")(y)
    y = layers.SimpleRNN(3, return_sequences=True, name="simple")(y)
    y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    y = layers.LayerNormalization(name="layer_norm")(y)
    y = layers.TimeDistributed(layers.Dense(3, name="timed"), name="times")(y)
    y = layers.Flatten()(y)
    cube = keras.Input((4, 4, 4, 1), name="cube")
    z = layers.Flatten()(layers.Conv3D(2, 3, name="space")(cube))
    return keras.Model([image, words, cube], layers.Concatenate()([x, y, z]))


def write(model: keras.Model, folder: Path, name: str, optimizer: object, shard_size: int) -> None:
    generator = np.random.default_rng(0)
    model.set_weights([generator.standard_normal(w.shape).astype("float32") for w in model.get_weights()])
    if optimizer is not None:
        model.compile(optimizer, "mse")
        model.optimizer.build(model.trainable_variables)
    values = [np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(w, "float32"))) for w in model.weights]
    np.savez(folder / f"{name}.npz", *values)
    (folder / f"{name}.json").write_text(json.dumps([weight.path for weight in model.weights]))
    model.save(folder / f"{name}.keras")
    model.save(folder / f"{name}.h5")
    model.save_weights(folder / f"{name}.weights.h5")
    saving_lib.save_model(model, folder / f"{name}_arrays.keras", weights_format="npz")
    (folder / f"{name}_shards").mkdir()
    model.save_weights(folder / f"{name}_shards" / "x.weights.json", max_shard_size=shard_size / 2**30)
    with h5py.File(folder / f"{name}_only.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def main(folder: Path) -> None:
    write(everything(), folder, "full", keras.optimizers.SGD(momentum=0.9), 2500)
    keras.config.set_dtype_policy("bfloat16")
    half = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    write(half, folder, "half", None, 40)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
