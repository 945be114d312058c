"""Needs of the training of networks, against arithmetic by hand."""

import pytest
from test_site_needs import inventory

from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.plan.networks import LINK_BYTES, READ_VALUES, START_S, Accelerator, network_need, of_cores, visits_of
from hpc_mlsm.plan.refusals import refusals
from hpc_mlsm.plan.shape import StageShape
from hpc_mlsm.plan.stages import stage_need
from hpc_mlsm.stages.network_plan import gpu_of, network_needs, scaled_to

GB = 10**9
EQUAL = (40_429,) * 7
"""The published set, had all classes the same share."""

GPU = Accelerator("gpu", 1e13, 80.0 * GB, "")
PAPER = CnnSettings.paper(epochs=100)


def test_the_published_training_takes_what_its_operations_take() -> None:
    one, eight = (network_need(PAPER, 4501, EQUAL, 10, GPU, ranks) for ranks in (1, 8))
    learnt, ended_by = 0.9 * 283_003, 0.1 * 283_003
    by_hand = (learnt * 3.94e9 + ended_by * 1.31e9) / 1e13
    assert one.epoch_s == pytest.approx(by_hand, rel=0.01)
    assert one.training_s == pytest.approx(START_S + 100 * by_hand, rel=0.01)
    sums = learnt / 128 * 2 * 4 * 22.3e6 * (7 / 8) / LINK_BYTES
    assert eight.epoch_s == pytest.approx(by_hand / 8 + sums, rel=0.01)
    # Ten folds on eight GPUs are two rounds, each with eight tenths of the patterns.
    fold = START_S + 100 * (0.8 * 283_003 * 3.94e9 + ended_by * 1.31e9) / 1e13
    assert (one.folds_s, eight.folds_s) == (pytest.approx(10 * fold, rel=0.01), pytest.approx(2 * fold, rel=0.01))


def test_a_rank_that_computes_faster_than_it_reads_waits() -> None:
    slow, fast = (
        network_need(CnnSettings(), 4501, EQUAL, 10, Accelerator("gpu", flops, None, ""), 1) for flops in (1e12, 1e14)
    )
    assert slow.waiting == 0
    assert fast.epoch_s == pytest.approx(0.9 * 283_003 * 4501 / READ_VALUES, rel=1e-3)
    assert fast.waiting == pytest.approx(1 - slow.epoch_s / 100 / fast.epoch_s, rel=1e-3)


def test_rarer_classes_are_counted_as_often_as_they_are_drawn() -> None:
    assert visits_of((100, 50, 0, 1), CnnSettings()) == 300
    assert visits_of((100, 50, 0, 1), CnnSettings(oversample=False)) == 151


def test_memory_of_a_rank_grows_by_the_table_of_rows_only() -> None:
    few, many = (network_need(CnnSettings(), 4501, scaled_to(EQUAL, n), 10, GPU, 1) for n in (28_300, 283_000))
    assert many.rank_bytes - few.rank_bytes < 0.03 * (many.patterns - few.patterns) * 4501 * 4
    assert many.device_bytes == few.device_bytes
    assert many.read_bytes == pytest.approx(10 * few.read_bytes, rel=1e-3)


def test_shares_of_classes_are_kept_at_another_number_of_patterns() -> None:
    assert scaled_to((30, 10), None) == (30, 10)
    assert scaled_to((30, 10), 400) == (300, 100)
    assert scaled_to((0, 0), 400) == (200, 200)


def test_what_a_projection_rests_on_is_said_with_it() -> None:
    (assumed, *_) = network_needs(PAPER, 4501, EQUAL, gpu_of(None))
    assert assumed.basis == (
        "3.94 GFLOP a pattern and step, 15 TFLOP/s in training, which is assumed, not measured (gpu_tflops of a "
        "site's profile); a rank reads 9998 patterns/s, measured"
    )
    (here,) = network_needs(CnnSettings(), 4501, EQUAL, of_cores(CnnSettings(), 2), (1,))
    assert here.basis == (
        "0.358 GFLOP a pattern and step, 100 GFLOP/s of a core, measured on one with AVX-512; a rank reads 9998 "
        "patterns/s, measured"
    )


def test_on_a_site_each_rank_has_a_gpu_and_its_part_of_the_node() -> None:
    shape = StageShape("train", "ranks", 2, 4, 16, 240.0 * GB, 4, 86_400, 660)
    what = inventory(10, network=PAPER, class_patterns=EQUAL, gpu=GPU)
    need = stage_need(what, shape)
    assert (need.workers, need.tasks, shape.memory_each, shape.cores) == (8, 100, 60.0 * GB, 128)
    assert need.seconds == network_need(PAPER, len(what.settings.grid), EQUAL, 10, GPU, 8).training_s
    assert stage_need(what, shape.at(4)).workers == 16
    assert refusals(what, [need], 1e15, "/runs") == []
    small = inventory(10, network=PAPER, class_patterns=EQUAL, gpu=Accelerator("gpu", 1e13, 1.0 * GB, ""))
    assert "lower train.cnn.batch, or use more ranks" in refusals(small, [need], 1e15, "/runs")[0]
    tight = StageShape("train", "ranks", 2, 4, 16, 4.0 * GB, 4, 86_400, 660)
    (words,) = refusals(what, [stage_need(what, tight)], 1e15, "/runs")
    assert words.startswith("train: 4 processes of a node share 4 GB, which is 1 GB each")
    assert "set stages.train_networks.memory to" in words
