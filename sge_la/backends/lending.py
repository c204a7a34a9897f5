"""A process that lends its devices to the first process of a training (`sge_la.backends.parallel`).

`lend` starts another process for it, `python -m sge_la.backends.lending`: when process 0 dies, JAX ends whoever was
connected to it, with its stack, and somebody must be left to say in a sentence what happened.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

from sge_la.backends import parallel
from sge_la.errors import UserError

# Seconds between signs of life, and without one after which a process counts as dead; connections tell
# of one that is killed at once.
_BEAT_SECONDS, _SILENCE = 3, 30  # less than the 40 after which XLA ends a process whose devices wait for each other
_BEATS = 'sge_la/beats/'
_ENDED = 'process 0 of this training has ended before its end'


def lend(gpu: str) -> None:
    """Lends this machine's devices until process 0 has ended.

    `gpu`: -1 for the CPU. Raises UserError: process 0 failed, died, or was never there.
    """
    command = [sys.executable, '-m', 'sge_la.backends.lending', gpu]
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        try:
            said = process.stderr.read().decode(errors='replace')
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        told = [line[len(_MARK) :] for line in said.splitlines() if line.startswith(_MARK)]
        killed = process.returncode in (-signal.SIGKILL, -signal.SIGTERM)
        ended = 'what lent the devices of this machine was killed' if killed else _ENDED
        raise UserError(told[0] if told else f'{ended}: start all of them again')


_MARK = 'lending: '


def main(gpu: str) -> int:
    """Does what process 0 orders; returns the exit status."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    from sge_la.backends import processes

    here = processes.place()
    try:
        client = processes.connect(here, gpu)
        threading.Thread(target=_beat, args=(client, here.process), daemon=True).start()
        import jax

        sentence = _serve(client, parallel.mesh_of(jax.devices('cpu') if gpu == '-1' else jax.devices()))
    except UserError as error:
        sentence = str(error)
    except Exception as error:  # whatever JAX makes of a process 0 that is not there any more
        sentence = f'{_ENDED} ({str(error).splitlines()[0]:.150}): start all of them again'
    if sentence:
        print(_MARK + sentence, file=sys.stderr, flush=True)
    os._exit(2 if sentence else 0)  # nobody waits for anybody


def _end_with_starter() -> None:
    """Its end of the pipe is closed when it ends, however that is."""
    sys.stdin.buffer.read()
    os._exit(1)


def _beat(client, process: int) -> None:
    """Lets process 0 know that this one is alive."""
    while True:
        client.key_value_increment(f'{_BEATS}{process}', 1)
        time.sleep(_BEAT_SECONDS)


def watch(client, done: threading.Event) -> None:
    """Ends process 0 when another one has given no sign of life: its machine may be gone, and no connection tell."""
    seen: dict[str, str] = {}
    silent = 0
    while not done.wait(_BEAT_SECONDS):
        now = dict(client.key_value_dir_get(_BEATS))
        silent = 0 if all(now[key] != seen.get(key) for key in now) else silent + 1
        seen = now if silent == 0 else seen
        if silent * _BEAT_SECONDS >= _SILENCE:
            text = f'another process of this training has been silent for {_SILENCE} seconds: {parallel.GO_ON}'
            os.write(2, f'error: {text}\n'.encode())
            os._exit(2)


def _serve(client, mesh) -> str:
    """Carries orders out; returns '' when process 0 has come to its end, else why it has not."""
    import jax.export
    import numpy as np

    arrays: dict[int, object] = {}
    programs: dict[int, object] = {}
    for number in itertools.count():
        what, content = _received(client, number)
        if 'end' in what:
            return what['end'] and f'process 0 of this training ended: {what["end"]}'
        if 'forget' in what:
            arrays.clear()
            programs.clear()
        if 'share' in what:
            empty = [np.zeros(shape, dtype) for _, shape, dtype in what['share']]
            for (slot, *_), array in zip(what['share'], parallel.broadcast(empty), strict=True):
                arrays[slot] = parallel.on_all(mesh, np.asarray(array))
        if 'program' in what:
            text = jax.export.deserialize(bytearray(content))
            programs[what['program']] = parallel.compiled_for(mesh, text.call, text.in_avals, what)
            parallel.wait_for_all(client, what['program'])
        if 'run' in what:
            found = programs[what['run']](*(arrays[slot] for slot in what['args']))
            arrays |= zip(what['args'][: what['kept']], found, strict=False)
        for slot in what.get('drop', ()):
            del arrays[slot]


def _received(client, number: int) -> tuple[dict, bytes]:
    """The next order, however long it takes to come."""
    while True:
        try:
            order = client.blocking_key_value_get_bytes(parallel.order_key(number), 60_000)
        except Exception as error:
            if 'DEADLINE_EXCEEDED' not in str(error):
                raise
        else:
            what, _, content = order.partition(b'\n')
            return json.loads(what), content


if __name__ == '__main__':
    main(sys.argv[1])
