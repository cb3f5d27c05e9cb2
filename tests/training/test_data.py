"""Who gets which samples."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits

from training import data, serving
from training.data import FEWEST_SAMPLES
from training.errors import DataError
from training.specs import DATASETS, PARTITIONS, DatasetSpec, TaskConfig

OF_PEOPLE = ("own", "private")  # their shapes stand in each task
HERE = [
    name for name, choice in DATASETS.items() if name not in OF_PEOPLE and not choice.unavailable()
]
SMALL = ["breast_cancer", "digits"]


@pytest.mark.parametrize("name", HERE)
def test_data_sets_are_what_the_table_says(name: str) -> None:
    dataset = data.load(DatasetSpec(name))
    table = DATASETS[name]
    assert dataset.x.shape == (table.samples, *table.input_shape)
    assert dataset.x.dtype == np.float32
    assert dataset.y.shape == (table.samples,)
    assert dataset.y.dtype == np.int32
    assert dataset.classes == table.classes == len(np.unique(dataset.y))
    assert np.isfinite(dataset.x).all()
    assert data.load(DatasetSpec(name, holdout=0.3)) is dataset
    with pytest.raises(ValueError, match="read-only"):
        dataset.x[0] = 0


@settings(deadline=None)
@given(
    name=st.sampled_from(SMALL),
    kind=st.sampled_from(sorted(PARTITIONS)),
    alpha=st.sampled_from([0.01, 0.1, 0.5, 100.0]),
    participants=st.integers(1, 40),
    seed=st.integers(0, 2**53 - 1),
)
def test_shares_are_disjoint_complete_and_never_tiny(
    name: str, kind: str, alpha: float, participants: int, seed: int
) -> None:
    spec = DatasetSpec(name, kind, alpha=alpha)
    held = data.split(spec, seed)
    shares = data.partition(spec, participants, seed)
    assert len(shares) == participants
    assert np.array_equal(np.sort(np.concatenate(shares)), held.training)
    assert not np.intersect1d(held.training, held.holdout).size
    assert len(held.training) + len(held.holdout) == DATASETS[name].samples
    fewest = min(FEWEST_SAMPLES, len(held.training) // participants)
    assert min(map(len, shares)) >= fewest
    for share in shares:
        assert np.array_equal(share, np.sort(share))


def test_held_out_part_has_the_same_mix_of_classes() -> None:
    spec = DatasetSpec("breast_cancer", holdout=0.25)
    labels = data.load(spec).y
    held = data.split(spec, 3).holdout
    for label in (0, 1):
        share = (labels[held] == label).sum() / (labels == label).sum()
        assert share == pytest.approx(0.25, abs=0.002)


def test_split_and_shares_follow_from_the_seed() -> None:
    spec = DatasetSpec(partition="dirichlet")
    data._partition.cache_clear()
    first = data.partition(spec, 4, 7)
    data._partition.cache_clear()
    again = data.partition(spec, 4, 7)
    other = data.partition(spec, 4, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("kind", "samples", "first_counts"),
    [
        ("iid", [360, 360, 359, 359], [34, 40, 44, 45, 35, 34, 31, 32, 31, 34]),
        ("dirichlet", [586, 316, 296, 240], [18, 81, 106, 31, 7, 34, 121, 6, 130, 52]),
        ("shards", [359, 360, 360, 359], [0, 0, 0, 36, 144, 0, 0, 75, 104, 0]),
        ("quantity", [389, 58, 408, 583], [36, 43, 45, 45, 39, 38, 37, 34, 34, 38]),
    ],
)
def test_summary_of_digits_is_the_committed_one(
    kind: str, samples: list[int], first_counts: list[int]
) -> None:
    """A change here changes every model hash of every task: the draw is part of the protocol."""
    picture = data.summary(DatasetSpec("digits", kind), 4, 7)
    assert picture["classes"] == [str(digit) for digit in range(10)]
    assert [slot["samples"] for slot in picture["slots"]] == samples
    assert picture["slots"][0] == {"slot": 0, "samples": samples[0], "counts": first_counts}
    assert picture["holdout"]["samples"] == sum(picture["holdout"]["counts"]) == 359
    assert all(sum(slot["counts"]) == slot["samples"] for slot in picture["slots"])


def test_two_shards_each_mean_few_classes() -> None:
    picture = data.summary(DatasetSpec("digits", "shards", shards_per_participant=2), 10, 1)
    classes = [sum(count > 0 for count in slot["counts"]) for slot in picture["slots"]]
    assert max(classes) <= 4  # a shard can straddle two classes


def test_standardised_columns_use_the_training_part_only() -> None:
    config = TaskConfig(dataset=DatasetSpec("breast_cancer"), participants=1)
    share = data.share(config, 0)
    assert np.allclose(share.x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(share.x.std(axis=0), 1, atol=1e-4)
    assert not np.allclose(data.holdout(config).x.mean(axis=0), 0, atol=1e-3)


def test_a_slot_that_is_not_there() -> None:
    with pytest.raises(DataError, match="slot 5, but the task has 5 shares"):
        data.share(TaskConfig(), 5)
    with pytest.raises(DataError, match="600 participants"):
        data.partition(DatasetSpec("breast_cancer"), 600, 1)


def test_the_bundled_tables_are_scikit_learns_own() -> None:
    digits, tumours = load_digits(), load_breast_cancer()
    found = data.load(DatasetSpec("digits"))
    assert np.array_equal(found.x, (digits.images / 16.0).astype(np.float32))
    assert np.array_equal(found.y, digits.target)
    found = data.load(DatasetSpec("breast_cancer"))
    assert np.array_equal(found.x, tumours.data.astype(np.float32))
    assert np.array_equal(found.y, tumours.target)
    assert found.class_names == tuple(tumours.target_names)
    assert serving.feature_names(DatasetSpec("breast_cancer")) == tuple(tumours.feature_names)


def test_reading_them_imports_nothing_heavy() -> None:
    """A web process draws who has what; the first to ask waited for SciPy."""
    code = (
        "import sys; from training import data; from training.specs import DatasetSpec\n"
        "for name in ('digits', 'breast_cancer'): data.load(DatasetSpec(name))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "training" in ran.stdout.split()
    assert set(ran.stdout.split()) & {"sklearn", "scipy", "tensorflow"} == set()
