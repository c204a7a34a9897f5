"""Which flags of the machine that a run is carried out on are refused."""

from __future__ import annotations

from sge_la.backends.starting import JAX, NUMPY, TENSORFLOW, wish


def rules(options) -> list[tuple[object, str]]:
    """Whether flags contradict each other, and the sentence that says so.

    `options`: TrainOptions or EvaluateOptions.
    """
    return [
        (
            options.backend == NUMPY and getattr(options, 'train_flag', 2) != 2,
            '--backend numpy uses trained models and trains none: use tensorflow or jax, or leave it out',
        ),
        (
            getattr(options, 'devices', None) and (options.backend or wish() or TENSORFLOW) != JAX,
            '--devices shares batches over devices on JAX alone: add --backend jax or leave it out',
        ),
        (
            getattr(options, 'devices', None) and options.together,
            '--together trains seeds on one device, and --devices shares one run: leave out one of the two',
        ),
        (
            getattr(options, 'devices', None) and options.gpu not in ('0', '-1'),
            '--devices begins with the first GPU: leave out --gpu, or give -1 for the CPU',
        ),
        (
            getattr(options, 'resume', False) and options.overwrite,
            '--resume goes on with a run and --overwrite starts anew: leave out one of the two',
        ),
    ]
