"""Train, from FER2013, the network that ships inside emojax: 7 emotions on real faces.

In order, each step done once and gone on with after a stop:

  1. the data is counted and compared with a checksum;
  2. it is built into shards (data/fer2013);
  3. three large networks are trained: the teachers;
  4. resnet_small learns from their mean answer and from the labels;
  5. it is exported, with its figures on PublicTest, which all choices were made by.

PrivateTest, the competition's test pictures, is never looked at here.

FER2013 (Goodfellow et al. 2013) is given out by Kaggle's competition "Challenges in
Representation Learning: Facial Expression Recognition" as fer2013.csv, and elsewhere as folders
train/EMOTION/*.jpg and test/EMOTION/*.jpg. Its pictures come from the web and carry no licence:
train and measure, do not hand them on.

Examples:
  python experiments/recipes/fer2013.py --source fer2013/
  python experiments/recipes/fer2013.py --source fer2013.csv --teachers 0 --epochs 16   # two cores
  python experiments/recipes/fer2013.py --source fer2013/ --check-only
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
from cooking import check_runs, run_recipe

from emojax.augment import AugmentConfig
from emojax.config import TrainConfig
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.builders.fer2013 import TABLES, Fer2013
from emojax.data.rows import Request
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.export_run import export_run
from emojax.losses import LossConfig
from emojax.optim import OptimConfig
from emojax.report import terminal_table

COUNTS = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}

TABLE_MD5 = {
    "fer2013.csv": "f8428a1edbd21e88f42c73edd2a14f95",
    "icml_face_data.csv": "b114b9e04e6949e5fe8b6a98b3892b1d",
}
"""Of the competition's own files, as torchvision's `FER2013` has them."""

FOLDERS_SHA256 = "39f1fe3c38c3028195ff23fe1be430ae11e5e3566248b60f7501e6b15e798da4"
"""Of the JPEG copy that the shipped weights were trained on: SHA-256 over the lines
`FOLDER/EMOTION/NAME SHA256-OF-THE-FILE`, sorted; `aug_*` files left out."""

_TEACHER_WIDTHS = (48, 96, 192, 384)


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """How the shipped face network is made."""

    source: Path
    """fer2013.csv (or icml_face_data.csv), or the folder with train/ and test/."""
    data: Path = Path("data/fer2013")
    """Where the shards are built."""
    out: Path = Path("runs/fer2013")
    """Folder of the runs and of the artifact."""
    teachers: int | None = None
    """Large networks to learn from; unset: 3, and none on a CPU, where one takes a day."""
    teacher_epochs: int = 50
    """Passes over the pictures for each teacher: a minute on an H200 when it is alone."""
    epochs: int | None = None
    """Passes for the network itself; unset: 94 (under two minutes on an H200), and 16 on a CPU,
    where a pass takes 5 minutes on four cores and 12 on two busy ones."""
    seed: int = 0
    """Of the network; the teachers have 0, 1, 2 .. after it."""
    workers: int = os.cpu_count() or 1
    """Processes that read the pictures."""
    any_copy: bool = False
    """Take folders whose counts are right and whose checksum is another one, or any table."""
    check_only: bool = False
    """Count and compare the data, and stop."""


def check_table(table: Path) -> str:
    """Return what the competition's table is known by.

    Raises:
        UserError: it is another file.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with table.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    if digest.hexdigest() not in TABLE_MD5.values():
        raise UserError(
            f"{table}: MD5 is {digest.hexdigest()}, not that of the competition's file: fetch it "
            "again, or use --any-copy"
        )
    return f"{table.name}, MD5 {digest.hexdigest()}"


def check_folders(source: Path, any_copy: bool) -> str:
    """Return what the folders of pictures are known by.

    Raises:
        UserError: another number of pictures in a part of the set, or other pictures.
    """
    counts: collections.Counter[str] = collections.Counter()
    lines = []
    counted = set()
    for path in sorted(source.glob("t*/*/*.jpg")):
        part = path.name.split("_")[0]
        if part not in COUNTS:
            continue
        counts[part] += 1
        counted.add(path)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{path.relative_to(source).as_posix()} {content}\n")
    if dict(counts) != COUNTS:
        found = ", ".join(f"{counts[part]:,} {part}_*.jpg" for part in COUNTS)
        wanted = ", ".join(f"{count:,}" for count in COUNTS.values())
        raise UserError(
            f"{source}: {found}; FER2013 has {wanted}: give the folder that holds train/ and "
            "test/ as they were published, or fer2013.csv"
        )
    # Folders are listed where they are: nothing is unpacked into `work`.
    taken = Fer2013.read_source(source, Request(work=source)).rows
    if more := [row.path for row in taken if row.path not in counted]:
        raise UserError(
            f"{more[0]}: no picture of FER2013's, and it would be trained on or chosen by"
            f"{f', as {len(more) - 1} more' if len(more) > 1 else ''}: put it elsewhere"
        )
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    if digest != FOLDERS_SHA256 and not any_copy:
        raise UserError(
            f"{source}: the counts are right, the pictures are others (SHA-256 {digest[:12]}..): "
            "use --any-copy to train on them all the same"
        )
    return f"{sum(counts.values()):,} pictures, SHA-256 {digest}"


def check_source(source: Path, any_copy: bool) -> str:
    """Return what the data is known by.

    Raises:
        UserError: no FER2013 there, or another one.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder: give fer2013.csv, or train/ and test/")
    if source.is_file():
        return f"{source.name}, not compared" if any_copy else check_table(source)
    # Where the builder looks for it: what is compared is what is trained on.
    places = [folder / name for folder in (source, source / "fer2013") for name in TABLES]
    table = next((path for path in places if path.is_file()), None)
    if table is not None:
        return check_source(table, any_copy)
    return check_folders(source, any_copy)


def base_config(data: Path) -> TrainConfig:
    """Return what teachers and pupil have in common."""
    return TrainConfig(
        model="resnet_small",
        data=str(data),
        outputs="emotions",
        emotion_activation="softmax",
        batch_size=256,
        validate_every=1 if jax.default_backend() == "cpu" else 10,
        report_on="validation",
        augment=AugmentConfig(
            rotation_deg=15,
            scale=0.15,
            translation=0.08,
            brightness=0.2,
            contrast=0.3,
            erase=0.3,
        ),
        # The decay comes after the momentum: ten times the usual 5e-4 is the usual pull.
        optim=OptimConfig(name="sgd", learning_rate=0.1, weight_decay=5e-3),
    )


def teacher_config(data: Path, epochs: int, seed: int) -> TrainConfig:
    """Return the settings of a large network: five times the pupil's parameters."""
    return dataclasses.replace(
        base_config(data),
        blocks=(2, 2, 2, 2),
        widths=_TEACHER_WIDTHS,
        dropout=0.3,
        epochs=epochs,
        seed=seed,
        loss=LossConfig(label_smoothing=0.1),
    )


def pupil_config(data: Path, teachers: tuple[Path, ...], epochs: int, seed: int) -> TrainConfig:
    """Return the settings of the network that ships."""
    base = base_config(data)
    return dataclasses.replace(
        base,
        dropout=0.1,
        epochs=epochs,
        seed=seed,
        teachers=tuple(map(str, teachers)),
        augment=dataclasses.replace(base.augment, mixup=0.2),
        # Without teachers the label is all there is.
        loss=LossConfig(teacher_weight=0.8) if teachers else LossConfig(label_smoothing=0.1),
    )


def cook(options: RecipeOptions) -> None:
    """Do the steps, in order."""
    print(f"1/5 the data: {check_source(options.source, options.any_copy)}", flush=True)
    if options.check_only:
        return
    if options.teachers is not None and options.teachers < 0:
        raise UserError(f"teachers={options.teachers}: wanted 0 or more")
    on_cpu = jax.default_backend() == "cpu"
    count = (0 if on_cpu else 3) if options.teachers is None else options.teachers
    epochs = (16 if on_cpu else 94) if options.epochs is None else options.epochs
    print(f"2/5 shards in {options.data}", flush=True)
    build_dataset(
        "fer2013",
        source=options.source,
        out=options.data,
        options=BuildOptions(workers=options.workers),
    )
    teachers = tuple(options.out / f"teacher{number}" for number in range(count))
    pupil = options.out / "pupil"
    config = pupil_config(options.data, teachers, epochs, options.seed)
    schools = [
        (teacher_config(options.data, options.teacher_epochs, options.seed + number), folder)
        for number, folder in enumerate(teachers)
    ]
    check_runs([*schools, (config, pupil)], options.data)
    for number, (school, folder) in enumerate(schools):
        print(f"3/5 teacher {number + 1} of {count}, in {folder}", flush=True)
        print(terminal_table(train_run(school, folder, options.data, baseline=False)))
    print(f"4/5 the network itself, in {pupil}", flush=True)
    print(terminal_table(train_run(config, pupil, options.data, baseline=False)))
    artifact = options.out / "artifact"
    print(f"5/5 the artifact, in {artifact}", flush=True)
    export_run(pupil, artifact, mirrored=True, say=lambda what: print(f"    {what}", flush=True))
    print(f"next: emojax predict PICTURE --model {artifact}")


if __name__ == "__main__":
    sys.exit(run_recipe("fer2013.py", RecipeOptions, cook, __doc__))
