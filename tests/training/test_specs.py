"""Configurations: one hash each, and errors that say what to do."""

import json
from typing import Any

import pytest
from eth_abi import encode as abi_encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from training import aggregation, data
from training.choices import Parameter
from training.errors import SpecError, TrainingError, UpdateRejected
from training.jobs import GROUP_SAMPLES, in_groups
from training.specs import (
    ALGORITHMS,
    DATASETS,
    MODELS,
    PARTITIONS,
    REWARD_MODES,
    SCORINGS,
    AggregateJob,
    AlgorithmSpec,
    DatasetSpec,
    LocalSpec,
    ModelSpec,
    TaskConfig,
    TrainJob,
    UpdateRef,
    canonical_json,
    update_hash,
)

ADDRESS = "0x" + "11" * 20
HASH = "0x" + "22" * 32

# Changing what these hash to breaks every task on every chain: only with a new CONFIG_VERSION.
DEFAULT_BYTES = (
    b'{"algorithm":{"name":"fedavg","params":{"norm_bound":100.0}},'
    b'"dataset":{"alpha":0.5,"holdout":0.2,"name":"digits","partition":"iid",'
    b'"shards_per_participant":2},"local":{"batch_size":16,"epochs":5,"learning_rate":0.005,'
    b'"momentum":0.0,"optimizer":"adam"},"model":{"name":"mlp","params":{"hidden":[64]}},'
    b'"participants":5,"reward_mode":"score","rounds":5,"salt":"","scoring":"accuracy","seed":1,'
    b'"version":1}'
)
DEFAULT_HASH = "0x608914e4eee5f61490a585faa0f1c9f9015b4ba5f35ffb7c285ee3176b380d1e"


def test_default_configuration_has_its_committed_bytes_and_hash() -> None:
    assert TaskConfig().canonical_bytes() == DEFAULT_BYTES
    assert TaskConfig().hash() == DEFAULT_HASH == "0x" + keccak(DEFAULT_BYTES).hex()


def test_hash_survives_json_and_another_key_order() -> None:
    config = TaskConfig(model=ModelSpec("cnn", {"filters": [4]}), salt="ab01", rounds=3)
    plain = json.loads(config.canonical_bytes())
    shuffled = dict(reversed([*plain.items()]))
    shuffled["local"] = dict(reversed([*plain["local"].items()]))
    assert TaskConfig.from_dict(shuffled) == config
    assert TaskConfig.from_dict(shuffled).hash() == config.hash()


def test_equal_numbers_of_another_type_hash_alike() -> None:
    as_form_sends = TaskConfig.from_dict(
        {"local": {"learning_rate": 1, "epochs": 5.0}, "dataset": {"alpha": 1}, "seed": 1.0}
    )
    as_python_says = TaskConfig(local=LocalSpec(learning_rate=1.0), dataset=DatasetSpec(alpha=1.0))
    assert as_form_sends.hash() == as_python_says.hash()


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "x"},
        {"seed": 2},
        {"rounds": 6},
        {"participants": 4},
        {"reward_mode": "equal"},
        {"model": {"name": "logistic"}},
        {"dataset": {"alpha": 0.6}},
    ],
)
def test_every_change_changes_the_hash(change: dict[str, Any]) -> None:
    assert TaskConfig.from_dict(change).hash() != DEFAULT_HASH


def test_canonical_json_is_utf8_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": "µ", "c": 1e-7}) == b'{"a":"\xc2\xb5","b":1,"c":1e-07}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"local": {"batch_size": 0}}, "local.batch_size"),
        ({"local": {"batch_size": 2.5}}, "local.batch_size"),
        ({"local": {"batch_size": True}}, "local.batch_size"),
        ({"local": {"batch_size": "16"}}, "local.batch_size"),
        ({"local": {"learning_rate": float("nan")}}, "local.learning_rate"),
        ({"local": {"learning_rate": float("inf")}}, "local.learning_rate"),
        ({"local": {"optimizer": "magic"}}, "local.optimizer"),
        ({"local": {"speed": 1}}, "local.speed"),
        ({"local": 5}, "local"),
        ({"dataset": {"name": "imagenet"}}, "dataset.name"),
        ({"dataset": {"name": ["digits"]}}, "dataset.name"),
        ({"dataset": {"partition": "random"}}, "dataset.partition"),
        ({"dataset": {"alpha": 0}}, "dataset.alpha"),
        ({"dataset": {"holdout": 0.9}}, "dataset.holdout"),
        ({"model": {"name": "gpt"}}, "model.name"),
        ({"model": {"params": {"hidden": []}}}, "model.params.hidden"),
        ({"model": {"params": {"hidden": [64, 0]}}}, "model.params.hidden"),
        ({"model": {"params": {"width": 3}}}, "model.params.width"),
        ({"model": {"name": "cnn"}, "dataset": {"name": "breast_cancer"}}, "model.name"),
        ({"algorithm": {"name": "fedmagic"}}, "algorithm.name"),
        ({"algorithm": {"params": {"norm_bound": -1}}}, "algorithm.params.norm_bound"),
        ({"algorithm": {"name": "trimmed_mean", "params": {"trim": 0.5}}}, "algorithm.params.trim"),
        ({"scoring": "vibes"}, "scoring"),
        ({"reward_mode": "all"}, "reward_mode"),
        ({"participants": 0}, "participants"),
        ({"participants": 700, "dataset": {"name": "breast_cancer"}}, "participants"),
        (
            {"dataset": {"partition": "shards", "shards_per_participant": 100}, "participants": 50},
            "dataset.shards_per_participant",
        ),
        ({"rounds": 1001}, "rounds"),
        ({"seed": -1}, "seed"),
        ({"salt": "a b"}, "salt"),
        ({"version": 2}, "version"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_configuration_names_field_value_limit_and_next_step(
    config: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError) as caught:
        TaskConfig.from_dict(config)
    error = caught.value
    assert error.field == field
    assert str(error).startswith(f"{field} is ")
    assert repr(error.value)[:70] in str(error)
    assert error.limit in str(error)
    assert str(error).endswith(error.next_step)
    assert error.next_step


def test_too_many_pooling_blocks_for_the_picture() -> None:
    with pytest.raises(SpecError, match="Remove the last block"):
        TaskConfig(model=ModelSpec("cnn", {"filters": [2, 2, 2, 2]}))
    TaskConfig(model=ModelSpec("cnn", {"filters": [2, 2, 2]}))  # 8 x 8 halves to 1 x 1


@pytest.mark.parametrize(
    "table", [DATASETS, PARTITIONS, MODELS, ALGORITHMS, SCORINGS, REWARD_MODES]
)
def test_every_choice_has_a_label_an_explanation_and_valid_defaults(table: dict[str, Any]) -> None:
    assert table
    for name, choice in table.items():
        assert choice.name == name
        assert choice.label
        assert choice.help.endswith(".")
        defaults = choice.check_params("params", {})
        assert choice.check_params("params", defaults) == defaults


def test_every_offered_choice_is_implemented() -> None:
    assert aggregation.ALGORITHMS.keys() == ALGORITHMS.keys()
    assert {*data._LOADERS, "own", "private"} == DATASETS.keys()
    assert data._PARTITIONS.keys() == PARTITIONS.keys()


def test_parameter_limits_read_as_sentences() -> None:
    parameter = Parameter("n", "N", "Help.", "ints", [1], 1, 9, max_items=2)
    assert parameter.limit == "a list of 1 to 2 values, each a whole number from 1 to 9"


def test_update_hash_is_what_the_contract_computes() -> None:
    expected = keccak(
        abi_encode(
            ["address", "uint256", "uint16", "bytes32"], [ADDRESS, 7, 3, bytes.fromhex("22" * 32)]
        )
    )
    assert update_hash(ADDRESS, 7, 3, HASH) == "0x" + expected.hex()
    golden = "0x6625b63933163ec67335b824dee3eff58f23f41418fb4bb43d065766064f7838"
    assert update_hash(ADDRESS, 7, 3, HASH) == golden


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("0x12", 7, 3, HASH), "participant"),
        ((ADDRESS, -1, 3, HASH), "task_id"),
        ((ADDRESS, 7, 65536, HASH), "round"),
        ((ADDRESS, 7, 3, HASH.upper()), "content_hash"),
    ],
)
def test_update_hash_refuses_what_does_not_fit(arguments: Any, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        update_hash(*arguments)
    assert caught.value.field == field


def test_jobs_survive_the_broker() -> None:
    train = TrainJob(TaskConfig().to_dict(), 1, 0, ADDRESS, 7, HASH)
    assert TrainJob.from_dict(json.loads(json.dumps(train.to_dict()))) == train
    job = AggregateJob(
        TaskConfig().to_dict(), 7, 1, HASH, [UpdateRef(ADDRESS, HASH, 10, 0)], [ADDRESS]
    )
    again = AggregateJob.from_dict(json.loads(json.dumps(job.to_dict())))
    assert again == job
    assert again.updates[0].samples == 10


def test_configurations_are_frozen_and_specs_complete_their_params() -> None:
    assert AlgorithmSpec("fedprox", {"mu": 1}).params == {"mu": 1.0, "norm_bound": 100.0}
    with pytest.raises(AttributeError):
        TaskConfig().rounds = 2  # type: ignore[misc]


def test_errors_survive_pickling_between_processes() -> None:
    import pickle

    for error in (SpecError("a", 1, "2", "Do it."), UpdateRejected("norm", "too far")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, TrainingError)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@given(samples=st.lists(st.integers(1, 5000), min_size=1, max_size=200), workers=st.integers(1, 16))
def test_groups_hold_every_training_once_and_none_is_long(samples: list[int], workers: int) -> None:
    numbered = list(enumerate(samples))
    groups = in_groups(numbered, lambda item: item[1], workers)
    assert [item for group in groups for item in group] == numbered
    assert all(groups)
    longest = max(samples)
    for group in groups:
        assert sum(size for _, size in group) <= GROUP_SAMPLES + longest


@pytest.mark.parametrize(
    ("participants", "samples", "workers", "sizes"),
    [
        (10, 600, 2, [1] * 10),  # as long as a group: nobody waits for another's end
        (10, 60, 2, [5, 5]),  # every process has as much to do
        (100, 60, 2, [8, 9, 8, 8, 9, 8, 8, 9, 8, 8, 9, 8]),
        (1, 60, 8, [1]),
    ],
)
def test_short_trainings_go_together(
    participants: int, samples: int, workers: int, sizes: list[int]
) -> None:
    groups = in_groups(range(participants), lambda _: samples, workers)
    assert [len(group) for group in groups] == sizes
