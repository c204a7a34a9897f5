"""JSON of body trackers: Azure Kinect's `offline_processor`, OpenPose (a file a frame), AlphaPose (one file).

Azure Kinect: `frames` with `bodies`, each a `body_id` and 32 `joint_positions` in millimetres, x to the right, y down,
z away from the camera. They are turned half around x, as by `--up=-y`: y is up, and nothing is mirrored.

OpenPose: `people`, each with `pose_keypoints_2d` of 25 joints; AlphaPose: a list of people, each with an `image_id`,
`keypoints` whose first 17 are COCO's, and an `idx` where people were tracked. Both are x, y and a confidence a joint,
in pixels, y down: y is turned, z is 0, and there is no size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from sge_la.data.axes import Axes
from sge_la.data.raw import clock
from sge_la.data.raw.bodies import Bodies, order_of
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import in_order, shown
from sge_la.data.skeletons import SKELETONS, Skeleton
from sge_la.errors import UserError

# About what Python takes for a list, an object, and a number of JSON.
_LIST, _OBJECT, _NUMBER = 64, 240, 32
_FLAT = '2D poses in pixels: positions have no size in metres, and z is 0'
_UNTRACKED = 'people are told apart by their order in each frame alone, which may change: look at the recording'
# From x, y and confidence to x, y and z.
_FLATTEN = np.array([1, 1, 0])
_IMAGE = Axes('m', '-y')


def parse(text: str, raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Reads the body that is wanted, or the one in most frames; joints that were not found are NaN.

    `text`: the file; `raw`: its name, which errors tell, and the body; `skeleton`: the joints that are wanted. Raises
    UserError: it is none of the three forms, or there is no such body.
    """
    where = str(raw.path)
    value = _loads(text, where)
    if isinstance(value, dict) and isinstance(value.get('frames'), list):
        return _azure(value, raw, skeleton)
    if isinstance(value, list):
        return _alphapose(value, raw, skeleton)
    return _openpose([(where, value)], [], raw, skeleton)


def parse_frames(texts: Iterable[tuple[str, str]], raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Reads a folder of OpenPose's files, one a frame.

    `texts`: path and text of each, in order; frames are numbered by the last number in their names, if all have one.
    Raises UserError: a file is of another form, or there is no such body.
    """
    frames = [(where, _loads(text, where)) for where, text in texts]
    return _openpose(frames, [re.sub(r'.*[/\\]', '', where) for where, _ in frames], raw, skeleton)


def _loads(text: str, where: str) -> Any:
    # What is parsed may be far larger than its text, where that is nothing but brackets.
    size = _LIST * text.count('[') + _OBJECT * text.count('{') + _NUMBER * text.count(',')
    if size > 8 * len(text) + 2**25:
        raise UserError(f'{where} should hold poses as JSON, and holds little but brackets; check which file it is')
    try:
        return json.loads(text, object_hook=_without_orientations)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{where} should be JSON and is not ({error}); fetch it again or remove it') from error


def _without_orientations(value: dict) -> dict:
    """An object of JSON without what is most of Azure Kinect's files and is not used."""
    value.pop('joint_orientations', None)
    return value


def _azure(value: dict, raw: RawRecording, skeleton: Skeleton) -> Recording:
    where = str(raw.path)
    names = value.get('joint_names', SKELETONS['azure_kinect'].joints)
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names) or not names:
        raise UserError(f'{where}: names of joints were expected as joint_names, found {_kind(names)}; fetch it again')
    source = Skeleton('azure_kinect', tuple(names), (-1,) * len(names), ())
    bodies = Bodies(raw, order_of(skeleton, source, where), Axes('mm', '-y'))
    frames = value['frames']
    for index, frame in enumerate(frames):
        at = f'{where}, frame {index}'
        for body in _listed(frame, 'bodies', at):
            positions = _listed(body, 'joint_positions', at)
            if not all(isinstance(position, list) and len(position) == 3 for position in positions):
                raise UserError(
                    f'{at}: joint_positions of x, y and z were expected, found others; fetch the file again'
                )
            joints = _numbers([number for position in positions for number in position], 3 * len(names), at)
            levels = body.get('confidence_level', body.get('joint_confidence_levels'))
            lost = np.zeros(len(names), bool) if levels is None else _numbers(levels, len(names), at) == 0
            bodies.add(_name(body.get('body_id'), at), index, joints.reshape(-1, 3), lost, at)
    numbers, rate, notes = _clock(frames, where)
    return bodies.recording(numbers, rate, notes)


def _clock(frames: list[Any], where: str) -> tuple[np.ndarray | None, float | None, list[str]]:
    """Numbers of all frames, frames a second, and notes, by `frame_id` and `timestamp_usec` where all have them."""
    ids, times = ([frame.get(key) for frame in frames] for key in ('frame_id', 'timestamp_usec'))
    numbers, rate, notes = None, None, []
    if all(type(number) is int and 0 <= number < 2**53 for number in ids):
        places = [f'frame {index}' for index in range(len(ids))]
        numbers, _, notes = clock.frame_numbers(np.array(ids, np.int64), where, places)
    if len(times) > 1 and all(type(time) is int and 0 <= time < 2**60 for time in times):
        step = clock.usual_step(np.array(times, np.float64))
        rate = 1e6 / step if step and step > 1 else None
    return numbers, rate, notes


def _openpose(frames: list[tuple[str, Any]], names: list[str], raw: RawRecording, skeleton: Skeleton) -> Recording:
    bodies = Bodies(raw, order_of(skeleton, SKELETONS['openpose_25'], str(raw.path)), _IMAGE)
    crowd = False
    for index, (where, frame) in enumerate(frames):
        people = _listed(frame, 'people', where)
        crowd |= len(people) > 1
        for place, person in enumerate(people):
            points = _listed(person, 'pose_keypoints_2d', where)
            if not points:  # of a face or a hand alone
                continue
            if len(points) != 75:
                raise UserError(
                    f'{where}: 75 numbers, the 25 joints of BODY_25, were expected as pose_keypoints_2d, found '
                    f'{len(points)}; let OpenPose run with --model_pose BODY_25'
                )
            points = _numbers(points, 75, where).reshape(-1, 3)
            bodies.add(str(place), index, points * _FLATTEN, points[:, 2] == 0, where)
    numbers, rate, notes = _numbers_in(names, str(raw.path))
    return bodies.recording(numbers, rate, [_FLAT, *[_UNTRACKED] * crowd, *notes])


def _alphapose(people: list[Any], raw: RawRecording, skeleton: Skeleton) -> Recording:
    where = str(raw.path)
    bodies = Bodies(raw, order_of(skeleton, SKELETONS['coco_17'], where), _IMAGE)
    images: dict[str, list[Any]] = {}
    for index, person in enumerate(people):
        image = person.get('image_id') if isinstance(person, dict) else None
        if not isinstance(image, (str, int)):
            raise UserError(f'{where}: people with an image_id were expected, found another as number {index}')
        images.setdefault(str(image), []).append(person)
    order = sorted(images, key=in_order)
    names = [[_tracked(person, where) for person in images[image]] for image in order]
    # Without tracking, everybody has the same idx, or none.
    tracked = all(None not in frame and len(set(frame)) == len(frame) for frame in names)
    for index, image in enumerate(order):
        at = f'{where}, image {shown(image)}'
        for place, person in enumerate(images[image]):
            points = _listed(person, 'keypoints', at)
            points = _numbers(points, max(51, len(points) // 3 * 3), at).reshape(-1, 3)[:17]
            name = names[index][place] if tracked else str(place)
            bodies.add(name, index, points * _FLATTEN, points[:, 2] == 0, at)
    crowd = not tracked and any(len(frame) > 1 for frame in names)
    numbers, rate, notes = _numbers_in(order, where)
    return bodies.recording(numbers, rate, [_FLAT, *[_UNTRACKED] * crowd, *notes])


def _tracked(person: dict, where: str) -> str | None:
    """What AlphaPose's tracker calls a person, which it may write as a number or as lists around one."""
    value = person.get('idx')
    while isinstance(value, list) and value:
        value = value[0]
    return None if value is None or value == [] else _name(value, where)


def _numbers_in(names: list[str], where: str) -> tuple[np.ndarray | None, float | None, list[str]]:
    """Frame numbers by the last number in each name, as `clock.frame_numbers` has them; None if they do not rise."""
    found = [re.findall(r'[0-9]+', name) for name in names]
    if not all(found) or any(len(numbers[-1]) > 15 for numbers in found):
        return None, None, []
    numbers = np.array([int(numbers[-1]) for numbers in found], np.int64)
    if not len(names) or (np.diff(numbers) <= 0).any():
        return None, None, []
    return clock.frame_numbers(numbers, where, names)


def _listed(value: Any, key: str, where: str) -> list[Any]:
    """A list that an object of JSON has to hold."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f'{where}: a list {key} was expected, found {_kind(found)}; check which file it is')
    return found


def _numbers(values: Any, count: int, where: str) -> np.ndarray:
    """Numbers of JSON, float64 `[count]`; null is NaN."""
    try:
        if isinstance(values, list) and all(type(value) in (int, float, type(None)) for value in values):
            found = np.array(values, np.float64)
            if len(found) == count and not np.isinf(found).any():
                return found
    except OverflowError:
        pass
    size = len(values) if isinstance(values, list) else 'none'
    raise UserError(f'{where}: {count} numbers of joints were expected, found {size} or others; fetch the file again')


def _name(value: Any, where: str) -> str:
    """What a body is called."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = '' if isinstance(value, bool) or not isinstance(value, (int, str)) else str(value)
    if not 0 < len(name) <= 40 or not name.isprintable():
        raise UserError(f'{where}: the number of a body was expected, found {_kind(value)}; correct the file')
    return name


def _kind(value: Any) -> str:
    return shown(value) if isinstance(value, str) else f'JSON of the kind {type(value).__name__}'
