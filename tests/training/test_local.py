"""Local training with TensorFlow: it learns, it is exact, and it repeats to the byte."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.factories import address, evaluate_logistic, gradient_logistic, update
from training import data
from training.aggregation import aggregate, initial_state
from training.architecture import check_layers, count_weights, from_keras
from training.blobs import BlobStore
from training.data import PURPOSE_SHUFFLE, Samples, generator
from training.errors import BlobMissing, DataError, TrainingError
from training.round import aggregate_round
from training.specs import (
    MODELS,
    OPTIMIZERS,
    AggregateJob,
    AlgorithmSpec,
    DatasetSpec,
    LocalSpec,
    ModelSpec,
    TaskConfig,
    TrainJob,
    TrainResult,
    UpdateRef,
    keccak_hex,
    update_hash,
)
from training.weights import Float32, encode

local = pytest.importorskip("training.local")
programs = pytest.importorskip("training.programs")
runtime = pytest.importorskip("training.runtime")

LOGISTIC = TaskConfig(model=ModelSpec("logistic"))


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def start(config: TaskConfig, blobs: BlobStore) -> str:
    return blobs.put(encode(local.initial_weights(config)))


def job(config: TaskConfig, model_ref: str, slot: int = 0, round: int = 1) -> TrainJob:
    return TrainJob(config.to_dict(), round, slot, address(slot + 1), 1, model_ref)


def run_task(config: TaskConfig, blobs: BlobStore) -> list[Any]:
    """Every round of a task without a chain; the AggregateResults."""
    model_ref, state_ref = start(config, blobs), ""
    members = [address(slot + 1) for slot in range(config.participants)]
    results = []
    for number in range(1, config.rounds + 1):
        trained = [
            local.train(job(config, model_ref, slot, number), blobs)
            for slot in range(config.participants)
        ]
        updates = [
            UpdateRef(one.participant, one.content_hash, one.samples, one.slot, one.update_hash)
            for one in trained
        ]
        result = aggregate_round(
            AggregateJob(config.to_dict(), 1, number, model_ref, updates, members, state_ref),
            blobs,
            local.evaluate,
        )
        assert result.rejected == []
        model_ref, state_ref = result.model_hash, result.state_ref
        results.append(result)
    return results


def test_default_task_reaches_ninety_percent_in_five_rounds(blobs: BlobStore) -> None:
    config = TaskConfig()
    assert (config.dataset.name, config.model.name) == ("digits", "mlp")
    results = run_task(config, blobs)
    assert len(results) == 5
    assert results[-1].accuracy >= 0.95
    assert results[-1].loss < results[0].loss
    again = run_task(config, blobs)
    assert [one.model_hash for one in again] == [one.model_hash for one in results]
    other_seed = run_task(replace(config, seed=2, rounds=1), blobs)
    assert other_seed[0].model_hash != results[0].model_hash


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"model": {"name": "cnn"}}, 0.9),
        ({"model": {"name": "logistic"}}, 0.9),
        ({"dataset": {"name": "breast_cancer"}}, 0.9),
        ({"local": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9}}, 0.9),
        (
            {
                "model": {"name": "resnet", "params": {"stages": [8]}},
                "local": {"learning_rate": 0.02},
                "rounds": 4,
            },
            0.7,
        ),
        (
            {
                "model": {
                    "name": "layers",
                    "params": {
                        "layers": [
                            {"layer": "Conv2D", "filters": 8, "activation": "relu"},
                            {"layer": "GroupNormalization", "groups": 4},
                            {"layer": "MaxPooling2D"},
                            {"layer": "Flatten"},
                            {"layer": "Dense", "units": 32, "activation": "tanh"},
                        ]
                    },
                },
                "rounds": 2,
            },
            0.85,
        ),
        ({"algorithm": {"name": "fedprox"}}, 0.9),
        ({"algorithm": {"name": "fedavgm"}}, 0.9),
        ({"algorithm": {"name": "fedadam"}}, 0.85),
        ({"algorithm": {"name": "fedyogi"}}, 0.85),
        ({"algorithm": {"name": "krum"}}, 0.85),
        ({"algorithm": {"name": "multi_krum"}}, 0.9),
        ({"algorithm": {"name": "score_mean"}, "scoring": "leave_one_out"}, 0.9),
        ({"algorithm": {"name": "score_median"}}, 0.9),
        ({"algorithm": {"name": "blockflow"}}, 0.9),
        ({"algorithm": {"name": "median"}}, 0.9),
        ({"algorithm": {"name": "trimmed_mean"}}, 0.9),
        ({"algorithm": {"name": "fedsgd"}, "local": {"learning_rate": 1.0}, "rounds": 12}, 0.7),
        ({"dataset": {"partition": "dirichlet"}}, 0.85),
        ({"dataset": {"partition": "quantity"}}, 0.85),
        ({"dataset": {"partition": "shards"}, "local": {"epochs": 1}, "rounds": 15}, 0.7),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_every_offered_choice_learns(
    changes: dict[str, Any], least: float, blobs: BlobStore
) -> None:
    results = run_task(TaskConfig.from_dict(changes), blobs)
    assert results[-1].accuracy >= least


def test_weights_are_counted_as_keras_counts_them() -> None:
    layers = [
        {"layer": "Conv2D", "filters": 4, "kernel": 5},
        {"layer": "GroupNormalization", "groups": 2},
        {"layer": "MaxPooling2D"},
        {"layer": "GlobalAveragePooling2D"},
        {"layer": "Dense", "units": 6},
    ]
    model = ModelSpec("layers", {"layers": layers})
    built = local.zoo.build(model, (9, 7, 3), 5, seed=1)
    assert built.count_params() == count_weights("l", model.params["layers"], (9, 7, 3), 5)
    assert from_keras(built_in_keras().to_json(), 5) == check_layers("l", layers)


def built_in_keras() -> Any:
    keras = runtime.keras
    return keras.Sequential(
        [
            keras.Input((9, 7, 3)),
            keras.layers.Conv2D(4, 5, padding="same"),
            keras.layers.GroupNormalization(2),
            keras.layers.MaxPooling2D(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6),
            keras.layers.Dense(5),
        ]
    )


def test_every_offered_model_and_optimizer_has_its_code() -> None:
    assert local.zoo._BUILDERS.keys() == MODELS.keys()
    assert programs._UPDATES.keys() == OPTIMIZERS.keys() | {programs._PLAIN}


def test_another_process_with_more_threads_makes_the_same_bytes(
    blobs: BlobStore, tmp_path: Path
) -> None:
    configs = [TaskConfig(model=ModelSpec(name)) for name in ("mlp", "cnn")]
    jobs = [job(config, start(config, blobs), slot=3, round=2) for config in configs]
    here = [local.train(one, blobs).content_hash for one in jobs]
    code = (
        "import json, sys\n"
        "from training import local\n"
        "from training.blobs import BlobStore\n"
        "from training.specs import TaskConfig, TrainJob\n"
        "from training.weights import encode\n"
        "blobs = BlobStore(sys.argv[1])\n"
        "for job in json.loads(sys.argv[2]):\n"
        "    blobs.put(encode(local.initial_weights(TaskConfig.from_dict(job['config']))))\n"
        "    print(local.train(TrainJob.from_dict(job), blobs).content_hash)\n"
    )
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            str(tmp_path / "other"),
            json.dumps([one.to_dict() for one in jobs]),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(local.__file__).parent.parent,
        env={**os.environ, "BCFL_TRAIN_THREADS": "2"},
    )
    assert ran.stdout.split() == here


def test_train_result_describes_the_update(blobs: BlobStore) -> None:
    config = TaskConfig()
    model_ref = start(config, blobs)
    result = local.train(job(config, model_ref, slot=2), blobs)
    assert result.samples == len(data.share(config, 2)) == 288
    assert result.update_hash == update_hash(address(3), 1, 1, result.content_hash)
    assert (result.participant, result.task_id, result.round, result.slot) == (address(3), 1, 1, 2)
    assert 0.5 < result.accuracy <= 1
    assert 0 < result.loss < 2
    assert result.seconds > 0
    assert keccak_hex(encode(blobs.open_weights(result.content_hash))) == result.content_hash
    assert TrainResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_address_and_salt_do_not_change_the_training(blobs: BlobStore) -> None:
    config = TaskConfig()
    model_ref = start(config, blobs)
    first = local.train(job(config, model_ref), blobs)
    renamed = replace(job(replace(config, salt="x"), model_ref), participant=address(99), task_id=5)
    second = local.train(renamed, blobs)
    assert second.content_hash == first.content_hash
    assert second.update_hash != first.update_hash


@pytest.mark.parametrize("what", ["slot", "round", "seed"])
def test_slot_round_and_seed_do(what: str, blobs: BlobStore) -> None:
    config = TaskConfig()
    model_ref = start(config, blobs)
    first = local.train(job(config, model_ref), blobs)
    changed = {
        "slot": job(config, model_ref, slot=1),
        "round": job(config, model_ref, round=2),
        "seed": job(replace(config, seed=2), model_ref),
    }[what]
    assert local.train(changed, blobs).content_hash != first.content_hash


def test_reporting_progress_does_not_change_the_bytes(blobs: BlobStore) -> None:
    config = TaskConfig(local=LocalSpec(epochs=3))
    task = job(config, start(config, blobs))
    silent = local.train(task, blobs)
    seen: list[tuple[int, int, float]] = []
    told = local.train(task, blobs, lambda *step: seen.append(step))
    assert told.content_hash == silent.content_hash
    assert (told.loss, told.accuracy) == (silent.loss, silent.accuracy)
    assert seen[0] == (0, 3 * 288, 0.0)
    assert seen[-1][:2] == (3 * 288, 3 * 288)
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    assert all(rate > 0 for _, _, rate in seen[1:])


def sgd_by_hand(
    config: TaskConfig, weights: dict[str, Float32], share: Samples, mu: float
) -> dict[str, Any]:
    """Plain SGD with momentum on logistic regression in float64, batch by batch."""
    spec = config.local
    start_weights = {name: tensor.astype(np.float64) for name, tensor in weights.items()}
    current = dict(start_weights)
    velocity = {name: np.zeros_like(tensor) for name, tensor in current.items()}
    rng = generator(config.seed, PURPOSE_SHUFFLE, 1, 0)
    for _ in range(spec.epochs):
        order = rng.permutation(len(share))
        for at in range(0, len(share), spec.batch_size):
            batch = order[at : at + spec.batch_size]
            slope = gradient_logistic(current, share.x[batch], share.y[batch])
            for name in current:
                pull = mu * (current[name] - start_weights[name])
                velocity[name] = spec.momentum * velocity[name] - spec.learning_rate * (
                    slope[name] + pull
                )
                current[name] = current[name] + velocity[name]
    return current


@pytest.mark.parametrize(("mu", "momentum"), [(0.0, 0.5), (0.5, 0.5), (0.0, 0.0), (0.5, 0.0)])
def test_sgd_and_fedprox_follow_the_formula(mu: float, momentum: float, blobs: BlobStore) -> None:
    """288 samples in batches of 100: the last batch is short, so padding must weigh nothing."""
    config = TaskConfig(
        model=ModelSpec("logistic"),
        algorithm=AlgorithmSpec("fedprox", {"mu": mu}),
        local=LocalSpec(2, 100, 0.5, "sgd", momentum=momentum),
    )
    weights = local.initial_weights(config)
    share = data.share(config, 0)
    trained = blobs.open_weights(
        local.train(job(config, blobs.put(encode(weights))), blobs).content_hash
    )
    expected = sgd_by_hand(config, weights, share, mu)
    for name in weights:
        assert np.allclose(trained[name], expected[name], rtol=1e-4, atol=1e-6)


def test_fedsgd_round_is_one_gradient_step_on_all_samples() -> None:
    config = TaskConfig(
        model=ModelSpec("logistic"),
        algorithm=AlgorithmSpec("fedsgd"),
        local=LocalSpec(learning_rate=0.5),
        participants=3,
    )
    weights = local.initial_weights(config)
    shares = [data.share(config, slot) for slot in range(3)]
    rng = generator(1, PURPOSE_SHUFFLE, 1, 0)
    updates = [
        update(slot, len(share), local.fit(config, weights, share, rng)[0])
        for slot, share in enumerate(shares)
    ]
    state = aggregate(config.algorithm, initial_state(config.algorithm, weights), updates)
    x = np.concatenate([share.x for share in shares])
    y = np.concatenate([share.y for share in shares])
    slope = gradient_logistic(weights, x, y)
    for name in weights:
        assert np.allclose(state.weights[name], weights[name] - 0.5 * slope[name], atol=1e-6)


def test_adam_is_keras_adam() -> None:
    keras = runtime.keras
    config = TaskConfig(local=LocalSpec(2, 32, 0.01, "adam"))
    weights = local.initial_weights(config)
    share = data.share(config, 0)
    trained, _, _ = local.fit(config, weights, share, generator(1, PURPOSE_SHUFFLE, 1, 0))

    model = local.zoo.build(config.model, (8, 8), 10, config.seed)
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    rng = generator(1, PURPOSE_SHUFFLE, 1, 0)
    for _ in range(2):
        order = rng.permutation(len(share))
        for at in range(0, len(share), 32):
            batch = order[at : at + 32]
            model.train_on_batch(share.x[batch], share.y[batch])
    for variable in model.trainable_variables:
        assert np.allclose(trained[variable.path], variable.numpy(), rtol=1e-3, atol=1e-5)


def test_evaluation_agrees_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = local.initial_weights(LOGISTIC)
    ours, theirs = local.evaluate(LOGISTIC, weights), evaluate_logistic(LOGISTIC, weights)
    assert (ours.correct, ours.total) == (theirs.correct, theirs.total)
    assert ours.accuracy == theirs.accuracy == ours.correct / ours.total
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    held = data.holdout(LOGISTIC)
    of_class = np.bincount(held.y, minlength=10)
    assert round(float(np.dot(ours.per_class, of_class))) == ours.correct
    monkeypatch.setattr(local, "_EVALUATE_ROWS", 100)  # the last part is short
    assert local.evaluate(LOGISTIC, weights) == ours


def test_patches_times_matrix_is_a_convolution() -> None:
    keras, zoo = runtime.keras, local.zoo
    rng = np.random.default_rng(0)
    for side in (1, 2, 3, 5):
        x = rng.normal(size=(2, 9, 7, 3)).astype(np.float32)
        ours = zoo.PatchConv2D(4, side)
        result = ours(x)
        theirs = keras.layers.Conv2D(4, side, padding="same")
        theirs.build(x.shape)
        theirs.set_weights(ours.get_weights())
        assert np.allclose(result, theirs(x), atol=1e-5)
        pooled = keras.layers.MaxPooling2D(2)(result)
        assert np.array_equal(zoo.HalvingMaxPool()(result), pooled)


def test_other_participants_and_rounds_compile_nothing_again(blobs: BlobStore) -> None:
    config = TaskConfig()
    model_ref = start(config, blobs)
    local.train(job(config, model_ref), blobs)
    engine = local._engine_for(config)
    run = engine.steps["adam", False]
    before = run.experimental_get_tracing_count()
    for slot in range(5):
        for number in (1, 2):
            local.train(job(replace(config, seed=slot), model_ref, slot, number), blobs)
    assert local._engine_for(config) is engine
    assert run.experimental_get_tracing_count() == before


def test_shares_of_any_size_run_the_same_program(blobs: BlobStore) -> None:
    """A share is a list of places in the data set, which is held once."""
    lopsided = DatasetSpec(partition="quantity", alpha=0.3)
    config = replace(LOGISTIC, dataset=lopsided, participants=20)
    model_ref = start(config, blobs)
    sizes = [len(data.share(config, slot)) for slot in range(20)]
    assert max(sizes) > 20 * min(sizes)
    engine = local._engine_for(config)
    ready = set(engine.ready)
    for slot in range(20):
        local.train(job(config, model_ref, slot), blobs)
    assert len(set(engine.ready) - ready) <= 1


@pytest.mark.parametrize("epochs", [1, 5])  # short enough for one call, and not
@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "fedsgd"])
def test_trained_together_or_alone_an_update_is_the_same(
    blobs: BlobStore, tmp_path: Path, epochs: int, algorithm: str
) -> None:
    lopsided = DatasetSpec(partition="quantity", alpha=1.0)
    config = replace(LOGISTIC, dataset=lopsided, participants=12, local=LocalSpec(epochs=epochs))
    config = replace(config, algorithm=AlgorithmSpec(algorithm))
    model_ref = start(config, blobs)
    jobs = [job(config, model_ref, slot) for slot in range(12)]
    other = replace(config, seed=2)  # each job goes by its own configuration
    jobs.append(job(other, model_ref, 3))
    alone = [local.train(one, blobs).content_hash for one in jobs]
    elsewhere = BlobStore(tmp_path / "elsewhere")
    elsewhere.put(blobs.get(model_ref))
    seen: list[tuple[int, int, int]] = []

    def watch(one: TrainJob) -> Any:
        return lambda done, total, rate: seen.append((one.slot, done, total))

    together = local.train_all(jobs, elsewhere, watch)
    assert [one.content_hash for one in together] == alone
    assert len(set(alone)) == 13
    assert all(elsewhere.exists(ref) for ref in alone)
    assert [(one.samples, one.loss) for one in together] == [
        (one.samples, one.loss) for one in (local.train(one, blobs) for one in jobs)
    ]
    steps_once = algorithm == "fedsgd"
    samples = sum(one.samples for one in together) * (1 if steps_once else epochs)
    assert sum(total for _, done, total in seen if done == 0) == samples  # every call begins once
    widths = {key[-1][0][0] for key in local._engine_for(config).ready}
    assert widths >= ({1, 4} if epochs == 1 else {1})
    with pytest.raises(BlobMissing):
        local.train_all([job(config, keccak_hex(b"nothing"))], elsewhere)


def test_training_that_diverges_is_an_error_and_stores_nothing(blobs: BlobStore) -> None:
    config = TaskConfig(local=LocalSpec(learning_rate=10.0))
    weights = {name: tensor * 1e30 for name, tensor in local.initial_weights(config).items()}
    task = job(config, blobs.put(encode(weights)))
    before = sorted(blobs.root.rglob("*.safetensors"))
    with pytest.raises(TrainingError, match=r"diverged .* learning rate 10\.0"):
        local.train(task, blobs)
    assert sorted(blobs.root.rglob("*.safetensors")) == before


def test_model_of_another_task_is_refused(blobs: BlobStore) -> None:
    other = start(TaskConfig(dataset=DatasetSpec("breast_cancer")), blobs)
    with pytest.raises(DataError, match="Use a blob of this task"):
        local.train(job(TaskConfig(), other), blobs)
    with pytest.raises(BlobMissing):
        local.train(job(TaskConfig(), keccak_hex(b"nothing")), blobs)
    with pytest.raises(DataError, match="slot 5"):
        local.train(job(TaskConfig(), start(TaskConfig(), blobs), slot=5), blobs)


def test_warm_up_compiles_the_default_task() -> None:
    assert local.warm_up() > 0
    engine = local._engine_for(TaskConfig())
    assert engine.steps["adam", False].experimental_get_tracing_count() >= 1
    assert engine.logits.experimental_get_tracing_count() >= 1
