"""Some faces of each label, out of shards."""

from __future__ import annotations

import numpy as np

from emojax.data.shards import DatasetInfo, read_batches
from emojax.data.splits import SPLITS

# Faces that are looked through for some of each label: a large set is not read to its end.
_LOOKED_AT_BYTES = 256 * 2**20


def choose_faces(info: DatasetInfo, wanted: int) -> dict[str, list[np.ndarray]]:
    """Return crops of each emotion, and of each action unit where no emotion is known.

    Unlike the contact sheet, which looks for the most varied faces, this reads the
    shards once and not to their end: it runs at the end of every build.

    Args:
        info: of the data set.
        wanted: crops of each label, of different people before one comes again.

    Returns:
        uint8 [height, width], gray, by label in the order of the labels; a label
        without a face is not there.

    Raises:
        UserError: a shard is missing, truncated or altered.
    """
    spec = info.input_spec
    names = [*spec.emotions, "emotion unknown", *spec.action_units]
    first: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    more: dict[str, list[np.ndarray]] = {name: [] for name in names}
    looked_at = 0
    for split in SPLITS:
        columns = ("faces", "num_frames", "emotion", "action_units", "subject")
        for batch in read_batches(info, split, columns):
            for row in np.flatnonzero(batch["num_frames"]):
                # A copy: a view would hold its whole batch in memory.
                crop = batch["faces"][row, (batch["num_frames"][row] - 1) // 2].copy()
                person = str(batch["subject"][row])
                present = np.flatnonzero(batch["action_units"][row] == 1)
                # Unknown is -1: the name before the first action unit's.
                home = names[: len(spec.emotions) + 1][batch["emotion"][row]]
                for name in (home, *(spec.action_units[unit] for unit in present)):
                    if person in first[name]:
                        more[name] = [*more[name], crop][:wanted]
                    elif len(first[name]) < wanted:
                        first[name][person] = crop
            looked_at += batch["faces"].nbytes
            if looked_at > _LOOKED_AT_BYTES:
                break
    chosen = {name: [*first[name].values(), *more[name]][:wanted] for name in names}
    shown = [*spec.emotions, "emotion unknown"]
    if not any(chosen[name] for name in spec.emotions):
        shown += spec.action_units
    return {name: chosen[name] for name in shown if chosen[name]}
