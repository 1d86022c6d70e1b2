"""Cross-validations on clips: each answer goes to its own clip, and none is asked for twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sets import noise_clips

from emojax.config import TrainConfig, network_spec
from emojax.data.folds import load_folds
from emojax.data.resident import keep_labels
from emojax.data.shards import dataset_info, load_whole
from emojax.errors import UserError
from emojax.evaluate import Predictions
from emojax.results import sides_of
from emojax.tables import clips
from emojax.tables.clips import same_clips, study_clips
from emojax.trainings import Finished, save_training

BASE = TrainConfig(model="ar5", outputs="emotions", emotion_activation="softmax")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen people's clips; every fourth is a sound without a face."""
    return noise_clips(tmp_path_factory.mktemp("set"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Settings of the trainings that were asked for; each of them knows every emotion."""
    found: list[TrainConfig] = []

    def train(config: TrainConfig, folder: Path, data: Path, file: Path, **_: Any) -> None:
        found.append(config)
        info = dataset_info(data)
        spec = network_spec(config, info.input_spec)
        whole = keep_labels(load_whole(data), spec, info.input_spec.emotions)
        names = np.array([whole.subjects[index] for index in whole.subject])
        (folder / "folds").mkdir(parents=True)
        everybody = load_whole(data)
        people = [everybody.subjects[index] for index in everybody.subject]
        for number, fold in enumerate(load_folds(file, people)):
            tested = np.flatnonzero(np.isin(names, fold.test))

            def answer(shift: int, truth: np.ndarray = whole.emotion[tested]) -> Predictions:
                units = np.zeros((len(truth), 0), np.float32)
                return Predictions(units, np.eye(7, dtype=np.float32)[(truth + shift) % 7], 0.0)

            # Of one side alone it takes each emotion for one of the next.
            sides = enumerate(sides_of(config, spec), 1)
            alone = {side: answer(shift) for shift, side in sides}
            about = {"fold": fold.name}
            done = Finished(about, tested, answer(0), 0.5, None, 1.0, 0, alone)
            save_training(folder / "folds" / f"{number:04d}.npz", done)

    monkeypatch.setattr(clips, "train_folds", train)
    return found


def test_each_answer_is_that_of_its_own_clip(
    data: Path, asked: list[TrainConfig], tmp_path: Path
) -> None:
    video, both = study_clips(data, tmp_path, BASE, ["video", "both"], (0,), 3)
    assert [config.sound_features for config in asked] == [0, None]
    assert (video.sound, both.sound) == ("", "log_mel")
    assert video.folds == both.folds == 3
    assert not video.synthetic
    for one, count in ((video, 12), (both, 17)):
        (outcome,) = one.answers
        assert len(outcome.path) == count
        np.testing.assert_array_equal(outcome.answered, outcome.emotion)
        assert len(np.unique(outcome.subject)) == count
    assert video.alone == {}
    # A clip that lacks the side is not asked about: every fourth has no face.
    for shift, (side, count) in enumerate({"video": 12, "sound": 17}.items(), 1):
        (outcome,) = both.alone[side]
        assert len(outcome.path) == count
        np.testing.assert_array_equal(outcome.answered, (outcome.emotion + shift) % 7)
    # Nobody is in two folds, and everybody is in one.
    assert sorted(who for fold in both.tested for who in fold) == sorted(
        f"P{number}" for number in range(17)
    )


def test_builds_of_the_same_clips_are_told_from_others(data: Path, tmp_path: Path) -> None:
    other = noise_clips(tmp_path, count=5)
    again = tmp_path / "again"
    again.symlink_to(data)
    assert same_clips([data, other, again]) == [[data, again], [other]]


def test_answers_of_before_a_side_was_asked_for_are_used(
    data: Path, asked: list[TrainConfig], tmp_path: Path
) -> None:
    (new,) = study_clips(data, tmp_path, BASE, ["both"], (0,), 3)
    path = new.folder / "answers.npz"
    with np.load(path, allow_pickle=False) as kept:
        old = {name: kept[name] for name in kept.files if not name.startswith(("video/", "sound/"))}
    np.savez(path, **old)  # pyright: ignore[reportArgumentType]
    (found,) = study_clips(data, tmp_path, BASE, ["both"], (0,), 3)
    assert len(asked) == 1
    assert found.alone == {}
    np.testing.assert_array_equal(found.answers[0].answered, new.answers[0].answered)


def test_what_is_done_is_not_done_again(
    data: Path, asked: list[TrainConfig], tmp_path: Path
) -> None:
    first = study_clips(data, tmp_path, BASE, ["both"], (0, 1), None)
    again = study_clips(data, tmp_path, BASE, ["both"], (0, 1), None)
    assert [config.seed for config in asked] == [0, 1]
    assert first[0].folds == 17
    for one, other in zip(first[0].answers, again[0].answers, strict=True):
        np.testing.assert_array_equal(one.emotion_scores, other.emotion_scores)
    for side in ("video", "sound"):
        for one, other in zip(first[0].alone[side], again[0].alone[side], strict=True):
            np.testing.assert_array_equal(one.emotion_scores, other.emotion_scores)
    with pytest.raises(UserError, match="of other settings or other data"):
        study_clips(
            data,
            tmp_path,
            TrainConfig(model="ar5", outputs="emotions", epochs=3),
            ["both"],
            (0,),
            None,
        )
