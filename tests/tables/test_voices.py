"""Networks that only listen: from a finished cross-validation to a row beside people's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_study import finish_folds
from sklearn.metrics import recall_score
from small_sets import noise_clips

from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.tables import published
from emojax.tables.clip_tables import clip_table
from emojax.tables.clips import (
    CrossValidated,
    has_faces,
    label_each,
    read_cross_validation,
)
from emojax.tables.outcome import Outcome
from emojax.tables.pairs import clip_pairs
from emojax.tables.table import to_markdown
from emojax.tables.voices import relative_to_speaker, voice_table
from emojax.trainings import read_training, save_training

CONFIG = TrainConfig(
    model="ar5", outputs="emotions", emotion_activation="softmax", video_features=0, epochs=3
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_clips(tmp_path_factory.mktemp("set"))


@pytest.fixture
def finished(data: Path, tmp_path: Path) -> Path:
    return finish_folds(tmp_path / "run", data, CONFIG)


def test_a_finished_run_is_read_as_it_is(finished: Path) -> None:
    found = read_cross_validation(finished)
    assert (found.inputs, found.folds, found.config) == ("sound", 3, CONFIG)
    (row,) = voice_table([found], None, ["x"]).rows
    assert row["value"] == row["right"] == 1
    assert row["epochs"] == 3
    assert row["rule"] == "3 folds by person"
    assert "published" not in row


def test_networks_that_answer_together_are_one_row(finished: Path) -> None:
    for path in sorted((finished / "folds").iterdir()):
        arrays = dict(np.load(path))
        # Surer than the first one, and always wrong.
        wrong = 3 * np.roll(arrays["emotions"], 1, axis=1)
        np.savez(path.with_name(f"{path.stem}-1.npz"), **arrays | {"emotions": wrong})
    found = read_cross_validation(finished)
    assert (found.folds, found.networks) == (3, 2)
    (row,) = voice_table([found], None, ["x"]).rows
    assert row["who"].startswith("mean of 2 networks: ar5, ")
    assert row["right"] == 0
    (finished / "folds" / "0001-1.npz").unlink()
    with pytest.raises(UserError, match="5 of 6 folds of 2 networks are trained"):
        read_cross_validation(finished)


def test_what_is_not_finished_is_said(finished: Path, data: Path) -> None:
    (finished / "folds" / "0002.npz").unlink()
    with pytest.raises(UserError, match="2 of 3 folds are trained: start its command again"):
        read_cross_validation(finished)
    with pytest.raises(UserError, match="no run here"):
        read_cross_validation(data)


def test_a_fold_that_diverged_is_no_answer(finished: Path) -> None:
    path = finished / "folds" / "0001.npz"
    nan = read_training(path)
    answers = nan.answers._replace(emotions=np.full_like(nan.answers.emotions, np.nan))
    save_training(path, dataclasses.replace(nan, answers=answers, diverged_at=7))
    with pytest.raises(UserError, match=r"0001\.npz: its loss became nan at step 7"):
        read_cross_validation(finished)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"0001\.npz: can't be read"):
        read_cross_validation(finished)


def test_answers_about_other_shards_are_not_taken_for_answers_about_these(finished: Path) -> None:
    about = json.loads((finished / "config.json").read_text())
    (finished / "config.json").write_text(json.dumps(about | {"data_fingerprint": "another"}))
    with pytest.raises(UserError, match="answers about other shards than "):
        read_cross_validation(finished)


def test_two_runs_on_the_same_voices_are_told_apart(finished: Path) -> None:
    one = read_cross_validation(finished)
    other = dataclasses.replace(one, folder=finished.with_name("longer"))
    assert label_each([one]) == ["sound log_mel"]
    assert label_each([one, other]) == ["sound log_mel (run)", "sound log_mel (longer)"]
    (pair,) = clip_pairs([one, other])
    assert (pair.first, pair.second) == ("sound log_mel (longer)", "sound log_mel (run)")
    assert pair.what == "3 folds by person"
    alone = tuple((who,) for fold in one.tested for who in fold)
    (pair,) = clip_pairs([one, dataclasses.replace(other, tested=alone)])
    assert pair.what == "leave one out against 3 folds by person"
    # In another set a clip of the same name is another clip.
    (outcome,) = one.answers
    alike = dataclasses.replace(outcome, subject=np.char.add(outcome.subject, "-of-lab-b"))
    assert clip_pairs([one, dataclasses.replace(other, answers=[alike])]) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("ar1", "ar1, one frame of each clip and no sound"),
        ("ar3", "ar3, video of each clip and no sound"),
        ("ar5", "E2 video and sound"),
    ],
)
def test_only_the_thesis_s_network_has_its_figures_beside_it(
    model: str, words: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_cross_validation(finish_folds(tmp_path / "run", data, TrainConfig(model=model)))
    hears = model == "ar5"
    assert (found.inputs, found.sound) == (("both", "log_mel") if hears else ("video", ""))
    assert label_each([found]) == ["both log_mel" if hears else f"{model} video"]
    # The thesis's own data and rule.
    (outcome,) = found.answers
    people = np.unique(outcome.subject).tolist()
    monkeypatch.setattr(published, "CREMA_D_PEOPLE", len(people))
    alike = dataclasses.replace(
        found, name="crema_d", owner="crema_d", tested=tuple((who,) for who in people)
    )
    (row,) = clip_table([alike], []).rows
    assert row["network"] == words
    assert row.get("published") == (pytest.approx(0.6942) if hears else None)
    assert row.get("difference") == (pytest.approx(1 - 0.6942) if hears else None)


@pytest.mark.parametrize(
    ("outputs", "answered"),
    [
        ("without_neutral", "happiness, surprise, sadness, anger, disgust, fear"),
        ("action_units", "action units alone"),
    ],
)
def test_a_network_that_does_not_answer_every_emotion_is_refused(
    outputs: Any, answered: str, data: Path, tmp_path: Path
) -> None:
    folder = finish_folds(tmp_path / "run", data, TrainConfig(model="ar1", outputs=outputs))
    with pytest.raises(UserError, match="give a run with --outputs=all or emotions") as refused:
        read_cross_validation(folder)
    said, _, rest = str(refused.value).partition(", and the tables")
    start = f"{folder}: its network answers "
    assert sorted(said.removeprefix(start).split(", ")) == sorted(answered.split(", "))
    assert "\n" not in rest


def test_runs_whose_folders_have_one_name_are_told_apart_by_their_parents(
    data: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name / "folds" for name in ("a", "b")]
    one, other = (read_cross_validation(finish_folds(folder, data, CONFIG)) for folder in folders)
    ends = [" (a/folds)", " (b/folds)"]
    assert label_each([one, other]) == [f"sound log_mel{end}" for end in ends]
    (pair,) = clip_pairs([one, other])
    assert {pair.first, pair.second} == {f"sound log_mel{end}" for end in ends}
    rows = voice_table([one, other], None, ["x"]).rows
    (alone,) = voice_table([one], None, ["x"]).rows
    assert [row["who"] for row in rows] == [f"{alone['who']}{end}" for end in ends]
    longer = dataclasses.replace(other, config=dataclasses.replace(CONFIG, epochs=9))
    rows = voice_table([one, longer], None, ["x"]).rows
    assert [row["who"] for row in rows] == [alone["who"]] * 2
    seeing = [dataclasses.replace(each, inputs="both") for each in (one, other)]
    names = [row["network"] for row in clip_table(seeing, []).rows[:2]]
    assert names == [f"E2 video and sound{end}" for end in ends]


def test_chance_says_whose_it_is(finished: Path) -> None:
    table = voice_table([read_cross_validation(finished)], None, ["x"])
    assert "chance of accuracy, %" in [column.title for column in table.shown]
    assert "Chance, of the accuracy: always the most frequent emotion." in to_markdown(table)


def test_drawn_people_are_named_among_the_voices(finished: Path) -> None:
    one = read_cross_validation(finished)
    drawn = dataclasses.replace(one, owner="synthetic", name="synthetic")
    assert "people are drawn" in to_markdown(voice_table([one, drawn], None, ["x"]))
    assert "people are drawn" not in to_markdown(voice_table([one], None, ["x"]))


def test_where_people_are_unknown_no_table_of_clips_speaks_of_people(finished: Path) -> None:
    one = read_cross_validation(finished)
    (outcome,) = one.answers
    of_files = dataclasses.replace(outcome, subject=outcome.path)
    alone = dataclasses.replace(one, name="lab", answers=[of_files])
    for tested, people in ((one, len(outcome.path)), (alone, None)):
        for table in (
            voice_table([tested], None, ["x"]),
            clip_table([dataclasses.replace(tested, inputs="both")], []),
        ):
            assert table.rows[0]["people"] == people
            said = "lab: who is on a clip is not known" in to_markdown(table)
            assert said == (people is None)


def test_a_set_without_faces_is_one_of_voices(data: Path, tmp_path: Path) -> None:
    assert has_faces(data)
    report = json.loads((data / "report.json").read_text())
    mute = tmp_path / "set"
    mute.mkdir()
    for path in data.iterdir():
        (mute / path.name).write_bytes(path.read_bytes())
    (mute / "report.json").write_text(json.dumps(report | {"frames_with_face": 0}))
    assert not has_faces(mute)


def test_a_speaker_who_always_sounds_alike_is_heard_relative_to_that(finished: Path):
    names = ("calm", "anger", "fear")
    emotion = np.tile(np.arange(3), 8)
    speaker = np.repeat(["a", "b"], 12)
    # Anger is what all of b's clips sound like most, and b's angry ones more than the others.
    scores = 0.2 + 0.1 * np.eye(3)[emotion]
    scores[speaker == "b", 1] *= 4
    outcome = Outcome(
        emotion=emotion,
        emotion_scores=(scores / scores.sum(axis=1, keepdims=True)).astype(np.float32),
        action_units=np.zeros((24, 0), int),
        unit_scores=np.zeros((24, 0), np.float32),
        subject=speaker,
        domain=np.full(24, ""),
        path=np.array([f"{at}.wav" for at in range(24)]),
        emotions=names,
        units=(),
    )
    found = relative_to_speaker(outcome)
    np.testing.assert_allclose(found.emotion_scores.sum(axis=1), 1, rtol=1e-6)
    for at in (0, 13):
        mine = outcome.emotion_scores[speaker == speaker[at]].astype(np.float64)
        wanted = outcome.emotion_scores[at] / mine.mean(axis=0)
        np.testing.assert_allclose(found.emotion_scores[at], wanted / wanted.sum(), rtol=1e-5)
    heard = dataclasses.replace(read_cross_validation(finished), answers=[outcome])
    plain, relative = voice_table([heard], None, ["x"]).rows
    assert plain["value"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert relative["value"] == relative["right"] == 1
    assert relative["who"] == "the same, relative to the speaker's mean answer"
    assert (relative["people"], relative["examples"]) == (2, 24)


def _heard(finished: Path, paths: list[str], people: list[str]) -> CrossValidated:
    rng = np.random.default_rng(0)
    count = len(paths)
    outcome = Outcome(
        emotion=rng.integers(0, 6, count),
        emotion_scores=rng.random((count, 6)).astype(np.float32),
        action_units=np.zeros((count, 0), int),
        unit_scores=np.zeros((count, 0), np.float32),
        subject=np.array(people),
        domain=np.array([""] * count),
        path=np.array(paths),
        emotions=("neutral", "happiness", "sadness", "anger", "fear", "disgust"),
        units=(),
    )
    return dataclasses.replace(read_cross_validation(finished), name="manifest", answers=[outcome])


def test_people_are_asked_about_the_same_clips(finished: Path, tmp_path: Path) -> None:
    clips = ["1001_DFA_ANG_XX", "1001_DFA_HAP_XX", "1002_IEO_SAD_LO"]
    heard = _heard(finished, [f"{clip}.npy" for clip in clips], ["1001", "1001", "1002"])
    votes = tmp_path / "tabulatedVotes.csv"
    # The first digit of a row's number says what was given: 1 voice, 2 face. 4 A are anger's.
    head = ",A,D,F,H,N,S,fileName,numResponses,agreement,emoVote,meanEmoResp,meanAcc"
    rows = [
        "100001,4,0,0,0,1,0,1001_DFA_ANG_XX",
        "100002,0,0,0,2,2,0,1001_DFA_HAP_XX",
        "100003,1,0,0,0,0,3,1002_IEO_SAD_LO",
        "100004,0,9,0,0,0,0,1003_IEO_DIS_LO",
        "200001,0,0,0,9,0,0,1001_DFA_ANG_XX",
    ]
    votes.write_text("\n".join([head, *(f"{row},5,1,A,3,1" for row in rows)]) + "\n")
    network, single, majority, every, _ = voice_table([heard], votes, ["x"]).rows
    (outcome,) = heard.answers
    assert network["data"] == "crema_d"
    assert network["value"] == pytest.approx(
        recall_score(
            outcome.emotion, outcome.answered, labels=np.unique(outcome.emotion), average="macro"
        )
    )
    # Published, but not on these three clips: no difference.
    assert network["published"] == pytest.approx(0.727)
    assert network["difference"] is None
    assert single["examples"] == majority["examples"] == 3
    assert single["value"] == pytest.approx((4 / 5 + 2 / 4 + 3 / 4) / 3)
    # A tie is nobody's.
    assert majority["value"] == pytest.approx((1 + 0 + 1) / 3)
    assert every["examples"] == 4
