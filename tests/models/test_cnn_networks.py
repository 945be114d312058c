"""The networks: their layers, their cost, and the device that they run on."""

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from peaks import small

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_cost import network_cost
from hpc_mlsm.models.cnn_input import scale_patterns
from hpc_mlsm.models.cnn_networks import build_network, choose_device, load_tensorflow
from hpc_mlsm.models.cnn_settings import CnnSettings

ALL = (CnnSettings.paper(), CnnSettings(), CnnSettings(heads=("space_group", "cell")), small())


@pytest.fixture
def keras() -> Any:
    return pytest.importorskip("keras", reason="tensorflow is not installed (extra cnn)")


def test_the_published_network_has_the_published_layers(keras: Any) -> None:
    network = build_network(CnnSettings.paper(), 4501, 7)
    kinds = [type(layer).__name__ for layer in network.layers]
    block = ["Conv1D", "Dropout", "AveragePooling1D"]
    dense = ["Dense", "BatchNormalization"]
    assert kinds == ["InputLayer", "Reshape", *block * 3, "Flatten", *dense * 4, "Dense"]
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv1D)]
    assert [layer.filters for layer in convolutions] == [80, 160, 240]
    assert [layer.kernel_size for layer in convolutions] == [(200,), (100,), (50,)]
    assert {(layer.strides, layer.padding, layer.activation.__name__) for layer in convolutions} == {
        ((2,), "same", "relu")
    }
    assert {layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)} == {0.3}
    assert {layer.pool_size for layer in network.layers if isinstance(layer, keras.layers.AveragePooling1D)} == {(3,)}
    denses = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in denses] == [2800, 1400, 700, 70, 7]
    assert [layer.activation.__name__ for layer in denses] == ["relu"] * 3 + ["tanh", "linear"]
    assert all(isinstance(layer.kernel_regularizer, keras.regularizers.L2) for layer in denses[:-1])


def test_the_published_training_is_the_default_of_paper() -> None:
    paper = CnnSettings.paper()
    assert (paper.learning_rate, paper.weight_decay, paper.schedule) == (1e-3, 0.0, "constant")
    assert (paper.patience, paper.min_delta, paper.oversample, paper.scale) == (50, 1e-7, True, "linear")
    assert CnnSettings.paper(epochs=3).epochs == 3


@pytest.mark.parametrize("settings", ALL, ids=["paper", "residual", "heads", "small"])
def test_parameters_are_counted_as_keras_counts_them(keras: Any, settings: CnnSettings) -> None:
    for n_points in (4501, 1024, 301 + 200):
        counted = network_cost(settings, n_points, 7).parameters
        assert counted == build_network(settings, n_points, 7).count_params()


@pytest.mark.parametrize("settings", ALL, ids=["paper", "residual", "heads", "small"])
def test_operations_are_counted_as_tensorflow_counts_those_of_its_graph(keras: Any, settings: CnnSettings) -> None:
    tf = load_tensorflow()
    network = build_network(settings, 4501, 7)
    graph = tf.function(lambda x: network(x, training=False)).get_concrete_function(tf.TensorSpec((1, 4501))).graph
    total = 0.0
    for op in graph.get_operations():
        if op.type in ("Conv2D", "MatMul"):
            out, kernel = op.outputs[0].shape.num_elements(), op.inputs[1].shape
            # Each value of the result is a sum over all of a filter, or over a column.
            total += 2.0 * out * (kernel.num_elements() / kernel[-1])
    counted = network_cost(settings, 4501, 7).forward_flop
    assert total == counted


def test_the_published_network_costs_about_4_gflop_a_pattern_to_train_and_the_other_a_tenth() -> None:
    paper, own = (network_cost(settings, 4501, 7) for settings in ALL[:2])
    assert paper.training_flop == pytest.approx(4e9, rel=0.03)
    assert own.training_flop < 0.1 * paper.training_flop
    assert str(paper) == "22,302,827 parameters, 1.31 GFLOP to classify a pattern, 3.94 to train on it"


def test_outputs_are_logits_by_head_in_float32(keras: Any) -> None:
    network = build_network(small(heads=("space_group", "cell")), 128, 3, policy="mixed_bfloat16")
    outputs = network(np.random.default_rng(0).random((5, 128), np.float32))
    assert {name: (tuple(values.shape), values.dtype.name) for name, values in outputs.items()} == {
        "class": ((5, 3), "float32"),
        "space_group": ((5, 230), "float32"),
        "cell": ((5, 6), "float32"),
    }
    assert {weight.dtype for weight in network.weights} == {"float32"}


def test_fresh_weights_follow_from_the_seed(keras: Any) -> None:
    same = [build_network(small(seed=1), 128, 3).get_weights() for _ in range(2)]
    other = build_network(small(seed=2), 128, 3).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(*same, strict=True))
    assert not np.array_equal(same[0][0], other[0])
    # Layers of one shape do not begin alike.
    kernels = [weight for weight in same[0] if weight.ndim == 3]
    assert len({weight.tobytes() for weight in kernels}) == len(kernels)


def test_patterns_too_short_for_the_published_network_are_refused(keras: Any) -> None:
    with pytest.raises(ConfigError, match=r"points before the pooling of block 3.*use network: residual"):
        build_network(CnnSettings.paper(), 100, 7)


def test_a_missing_tensorflow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigError, match=r'pip install "hpc_mlsm\[cnn\]"'):
        load_tensorflow()


def test_a_gpu_that_was_asked_for_and_is_not_there_is_missed(keras: Any) -> None:
    tf = load_tensorflow()
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match=r"train\.cnn\.device is gpu, but TensorFlow finds none"):
        choose_device(small(device="gpu"))
    assert choose_device(small(device="auto")).policy == "float32"


@pytest.mark.gpu
def test_a_gpu_is_taken_and_computes_in_bfloat16_where_it_can(keras: Any) -> None:
    tf = load_tensorflow()
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no GPU here")
    device = choose_device(CnnSettings())
    assert device.kind == "gpu"
    assert device.policy in ("mixed_bfloat16", "float32")
    assert choose_device(replace(CnnSettings(), precision="float32")).policy == "float32"


def test_ranks_of_a_node_take_different_gpus_and_a_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [SimpleNamespace(name="gpu 0"), SimpleNamespace(name="gpu 1")]
    visible, computed = [*gpus], False

    def set_visible(chosen: list[SimpleNamespace], kind: str) -> None:
        if computed:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        visible[:] = chosen

    config = SimpleNamespace(
        list_physical_devices=lambda kind: gpus,
        set_visible_devices=set_visible,
        get_visible_devices=lambda kind: visible,
        experimental=SimpleNamespace(
            set_memory_growth=lambda own, on: None,
            get_device_details=lambda own: {"compute_capability": (8, 0)},
        ),
    )
    monkeypatch.setattr("hpc_mlsm.models.cnn_networks.load_tensorflow", lambda: SimpleNamespace(config=config))
    found = [choose_device(CnnSettings(), rank) for rank in range(4)]
    assert [device.name for device in found] == ["gpu 0", "gpu 1", "gpu 0", "gpu 1"]
    assert {device.policy for device in found} == {"mixed_bfloat16"}
    computed = True
    assert choose_device(CnnSettings(), 2).name == "gpu 1"


def test_patterns_are_scaled_to_one_with_nothing_below_zero() -> None:
    patterns = np.array([[-5.0, 0.0, 250.0, 1000.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]])
    assert scale_patterns(patterns, "linear").tolist() == [[0, 0, 0.25, 1], [0] * 4, [0] * 4]
    assert scale_patterns(patterns, "sqrt")[0].tolist() == [0, 0, 0.5, 1]
    assert scale_patterns(patterns, "sqrt").dtype == np.float32
    assert scale_patterns(patterns[:0], "sqrt").shape == (0, 4)
