"""One rank's copy of a network in training: the step that all ranks do together, and the state to be kept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_augment import CHANCES, augmented
from hpc_mlsm.models.cnn_feed import SPECS
from hpc_mlsm.models.cnn_networks import Device, build_network, load_tensorflow
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.models.cnn_strategy import RankInfo, make_strategy

if TYPE_CHECKING:
    import keras

LOSS, CORRECT, COUNT, STOP = range(4)
"""What a step returns, summed over all ranks; ``STOP`` is above zero when a rank was told to stop."""


class Replica:
    """A network, its optimiser, and compiled steps; every rank has the same values in its own memory."""

    def __init__(
        self,
        settings: CnnSettings,
        two_theta: NDArray[np.float64],
        n_classes: int,
        n_steps: int,
        ranks: RankInfo,
        device: Device,
    ) -> None:
        self._tf = load_tensorflow()
        self.settings, self.two_theta, self.n_classes = settings, two_theta, n_classes
        n_points = len(two_theta)
        self.strategy = make_strategy(ranks, device)
        with self.strategy.scope():
            self.optimizer = _optimizer(settings, n_steps)
            drop = _stepwise_dropout(self.optimizer, settings.seed)
            self.model = build_network(settings, n_points, n_classes, policy=device.policy, dropout=drop)
            self.optimizer.build(self.model.trainable_variables)
        self._train, self._evaluate, self._sum = self._compiled(n_points)

    def train_step(self, patterns: Any, targets: dict[str, Any], chances: Any, total: Any, *, stop: bool) -> Any:
        """One step of all ranks; a tensor (4,) of sums over them, which may still be being computed."""
        return self._train(patterns, targets, chances, total, self._tf.constant(float(stop)))

    def evaluate_step(self, patterns: Any, targets: dict[str, Any]) -> Any:
        """Sums (4,) over the given patterns of this rank alone."""
        return self._evaluate(patterns, targets)

    def sum_over_ranks(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of arrays (4,) of all ranks; all must call it."""
        summed: NDArray[np.float64] = self._sum(self._tf.constant(values, self._tf.float64)).numpy()
        return summed

    @property
    def learning_rate(self) -> float:
        """At the next step."""
        return float(self._tf.convert_to_tensor(self.optimizer.learning_rate))

    def weights(self) -> list[NDArray[np.float32]]:
        """Weights, and statistics of batch normalisation."""
        return [variable.numpy() for variable in self.model.weights]

    def optimizer_state(self) -> list[NDArray]:
        """All that the optimiser keeps; the number of the step, upon which dropout depends, is part of it."""
        return [variable.numpy() for variable in self.optimizer.variables]

    def restore(self, weights: Sequence[NDArray], optimizer_state: Sequence[NDArray] | None = None) -> None:
        """Put values back."""
        for variable, value in zip(self.model.weights, weights, strict=True):
            variable.assign(value)
        if optimizer_state is not None:
            for variable, value in zip(self.optimizer.variables, optimizer_state, strict=True):
                variable.assign(value)

    def _compiled(self, n_points: int) -> tuple[Any, Any, Any]:
        tf, strategy = self._tf, self.strategy
        patterns = tf.TensorSpec((None, n_points), tf.float32)
        heads = ("class", *self.settings.heads)
        targets = {name: tf.TensorSpec(*SPECS[name]) for name in heads}
        scalar = tf.TensorSpec((), tf.float32)

        chances = tf.TensorSpec((None, CHANCES), tf.float32)

        @tf.function(input_signature=[patterns, targets, chances, scalar, scalar])
        def train(x: Any, y: Any, chances: Any, total: Any, stop: Any) -> Any:
            return strategy.run(self._train_replica, args=(x, y, chances, total, stop))

        @tf.function(input_signature=[patterns, targets])
        def evaluate(x: Any, y: Any) -> Any:
            return strategy.run(self._evaluate_replica, args=(x, y))

        @tf.function(input_signature=[tf.TensorSpec((4,), tf.float64)])
        def add_up(values: Any) -> Any:
            return strategy.run(self._add_up, args=(values,))

        return train, evaluate, add_up

    def _train_replica(self, x: Any, y: dict[str, Any], chances: Any, total: Any, stop: Any) -> Any:
        tf, model = self._tf, self.model
        x, y = augmented(tf, self.settings, self.two_theta, x, y, chances)
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = tf.reduce_sum(self._losses(outputs, y, self.settings.label_smoothing))
            # The optimiser adds the gradients of all ranks.
            share = loss / total
            if model.losses:
                share += tf.add_n(model.losses) / self.strategy.num_replicas_in_sync
        gradients = tape.gradient(share, model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        count = tf.cast(tf.shape(x)[0], tf.float32)
        return self._add_up(tf.stack([loss, _correct(tf, outputs, y), count, stop]))

    def _evaluate_replica(self, x: Any, y: dict[str, Any]) -> Any:
        tf = self._tf
        outputs = self.model(x, training=False)
        # What is looked at for stopping is the class alone, without smoothing.
        loss = tf.reduce_sum(self._losses({"class": outputs["class"]}, y, 0.0))
        count = tf.cast(tf.shape(x)[0], tf.float32)
        return tf.stack([loss, _correct(tf, outputs, y), count, tf.constant(0.0)])

    def _add_up(self, values: Any) -> Any:
        # A collective wants to know the device of what it is given, which an argument does not tell.
        own = self._tf.identity(values)
        return self._tf.distribute.get_replica_context().all_reduce(self._tf.distribute.ReduceOp.SUM, own)

    def _losses(self, outputs: dict[str, Any], y: dict[str, Any], smoothing: float) -> Any:
        """Loss of each row, shape (rows,)."""
        tf = self._tf
        wanted = tf.one_hot(y["class"], self.n_classes) * (1 - smoothing) + smoothing / self.n_classes
        losses = tf.nn.softmax_cross_entropy_with_logits(wanted, outputs["class"])
        if "space_group" in outputs:
            logits = outputs["space_group"]
            own = tf.nn.sparse_softmax_cross_entropy_with_logits(y["space_group"], logits)
            losses += self.settings.head_weight * own
        if "cell" in outputs:
            gap = tf.abs(outputs["cell"] - y["cell"])
            huber = tf.where(gap < 1, 0.5 * gap**2, gap - 0.5)
            losses += self.settings.head_weight * tf.reduce_mean(huber, axis=1)
        return losses


def refuse_missing_targets(settings: CnnSettings, targets: dict[str, NDArray]) -> None:
    """Refuse heads for which the patterns have no targets.

    Raises
    ------
    ConfigError
        Names them.
    """
    missing = [head for head in ("class", *settings.heads) if head not in targets]
    if missing:
        raise ConfigError(
            f"the network is to learn {', '.join(missing)}, which the patterns do not have; "
            "take that from train.cnn.heads"
        )


def _correct(tf: Any, outputs: dict[str, Any], y: dict[str, Any]) -> Any:
    found = tf.argmax(outputs["class"], axis=1, output_type=tf.int64)
    return tf.reduce_sum(tf.cast(found == y["class"], tf.float32))


def _optimizer(settings: CnnSettings, n_steps: int) -> "keras.optimizers.Optimizer":
    import keras

    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        warmup = min(round(settings.warmup_epochs * n_steps), settings.epochs * n_steps - 1)
        rate = keras.optimizers.schedules.CosineDecay(
            settings.learning_rate / 100 if warmup else settings.learning_rate,
            settings.epochs * n_steps - warmup,
            warmup_target=settings.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    if not settings.weight_decay:
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _stepwise_dropout(optimizer: Any, seed: int) -> Any:
    """Dropout whose choice follows from the seed, the step, the layer and the rank: there is no state to keep."""
    import keras
    import tensorflow as tf

    class StepwiseDropout(keras.layers.Layer):
        def __init__(self, rate: float, number: int) -> None:
            super().__init__(dtype="float32", autocast=False, name=f"stepwise_dropout_{number}")
            self.rate, self.number = rate, number

        def call(self, inputs: Any, training: bool = False) -> Any:
            if not training or not self.rate:
                return inputs
            rank = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
            step = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int64)
            own = tf.stack([seed + 2**32 * (1 + self.number), step * 2**20 + rank])
            return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed=own, rng_alg="philox")

    return StepwiseDropout
