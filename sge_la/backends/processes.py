"""The processes of a training on several devices (`sge_la.backends.parallel`): how they find each other, and end.

Nothing here imports JAX before a process knows which one it is.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sge_la.backends import lending, parallel
from sge_la.errors import UserError

ALL = 'all'
# How a launcher tells a process which one it is, of how many; JAX finds out the address under the last two by itself.
_ADDRESS = 'JAX_COORDINATOR_ADDRESS'
_PLACES = (
    ('JAX_PROCESS_ID', 'JAX_NUM_PROCESSES'),
    ('SLURM_PROCID', 'SLURM_NTASKS'),
    ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
)


@dataclass(frozen=True)
class Place:
    """Which process this is, of how many; `address`: host and port of process 0, None where JAX finds it out."""

    process: int
    processes: int
    address: str | None


def place() -> Place | None:
    """What the environment says of the processes of a training; None where this is the only one.

    Raises UserError: it says a part of it, or nonsense.
    """
    address = os.environ.get(_ADDRESS)
    for number, count in _PLACES if address is None else _PLACES[:1]:
        texts = [os.environ.get(name) for name in (number, count)]
        if address is None and (None in texts or number == _PLACES[0][0] or texts[1] == '1'):
            continue
        if not all(text and text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
            raise UserError(
                f'{number} and {count} should be the number of this process, from 0, and how many there are, found '
                f'{texts[0]!r} and {texts[1]!r}: set both beside {_ADDRESS}, or none of the three'
            )
        return Place(int(texts[0]), int(texts[1]), address)
    if alone := [name for name in _PLACES[0] if name in os.environ]:
        raise UserError(
            f'{" and ".join(alone)} should stand beside {_ADDRESS}, which is not set: set all three, or none of them'
        )
    return None


def connect(place: Place, gpu: str) -> Any:
    """Joins the processes of a training; returns the client of JAX' coordination service.

    Raises UserError: they do not find each other.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # what ends a training is said in one sentence
    import jax

    jax.config.update('jax_enable_recoverability', True)  # or JAX ends this process, with its stack
    if gpu == '-1':
        jax.config.update('jax_platforms', 'cpu')
    known = {'coordinator_address': place.address, 'cluster_detection_method': 'deactivate'} if place.address else {}
    try:
        jax.distributed.initialize(
            **known,
            num_processes=place.processes,
            process_id=place.process,
            shutdown_timeout_seconds=5,
        )
    except (RuntimeError, ValueError) as error:
        where = place.address or 'the place that its launcher names'
        raise UserError(
            f'process {place.process} of {place.processes} should find process 0 at {where}, and does not '
            f'({str(error).splitlines()[0]:.150}): check {_ADDRESS}, and that all of them were started'
        ) from error
    from jax._src import distributed

    return distributed.global_state.client


@contextlib.contextmanager
def joined(gpu: str, wanted: str, batches: Mapping[str, int]) -> Iterator[bool]:
    """Inside, training shares its batches over devices; yields whether this process is the one to train.

    `gpu`: -1 for the CPU; `wanted`: how many devices, or 'all'; `batches`: sizes of batches by flag. Another process
    than the first lends its devices until the first has ended, before anything is yielded. Raises UserError: the
    devices are not there, a batch cannot be divided, or another process has ended.
    """
    here = place()
    if here and here.process:
        lending.lend(gpu)
        yield False
        return
    if here is None:
        with parallel.shared_by(_group(gpu, wanted, here, None, batches)):
            yield True
        return
    with _silent(), _leading(here, gpu) as orders, parallel.shared_by(_group(gpu, wanted, here, orders, batches)):
        yield True


@contextlib.contextmanager
def _leading(here: Place, gpu: str) -> Iterator[parallel.Orders]:
    """At the end the other processes are told why; in between it is noticed when one falls silent."""
    orders, sentence, done = parallel.Orders(connect(here, gpu)), '', threading.Event()
    threading.Thread(target=lending.watch, args=(orders.client, done), daemon=True).start()
    try:
        yield orders
    except BaseException as error:
        sentence = str(error) or f'it was stopped by {type(error).__name__}'
        raise
    finally:
        done.set()
        orders.send({'end': sentence})


def _group(
    gpu: str, wanted: str, here: Place | None, orders: parallel.Orders | None, batches: Mapping[str, int]
) -> parallel.Group:
    devices = _chosen(gpu, wanted, here)
    _refuse_uneven(len(devices), batches)
    return parallel.Group(parallel.mesh_of(devices), orders, here.processes if here else 1)


def _chosen(gpu: str, wanted: str, here: Place | None) -> list:
    """The devices that are to share batches."""
    import jax

    devices = jax.devices('cpu') if gpu == '-1' else jax.devices()
    count = len(devices) if wanted == ALL else int(wanted)
    if count > len(devices):
        kind = devices[0].platform.upper()
        raise UserError(
            f'--devices {count}: this machine has {len(devices)} of kind {kind}; ask for no more, or for all'
        )
    if here and count < len(devices):
        raise UserError(
            f'--devices {count}: the {here.processes} processes have {len(devices)} devices, and share batches over '
            f'all of them; use --devices all, or start fewer processes'
        )
    if here and len(devices) != here.processes * jax.local_device_count():
        raise UserError('each process should have as many devices as the others: hide those that are too many')
    return devices[:count]


def _refuse_uneven(size: int, batches: Mapping[str, int]) -> None:
    for flag, batch in batches.items():
        if batch % size:
            near = math.ceil(batch / size) * size
            raise UserError(
                f'{flag} {batch} should be a multiple of the {size} devices that share a batch: use {near}, or another '
                'number of --devices'
            )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps what JAX' libraries print when processes connect away from stdout, which Python goes on to write to."""
    sys.stdout.flush()
    kept, written = os.dup(1), sys.stdout
    with open(os.devnull, 'wb') as nowhere, os.fdopen(os.dup(1), 'w', buffering=1) as sys.stdout:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            sys.stdout = written
