"""Every table of the thesis, for the data at hand: trains what is missing, writes a page.

Tables 6.1 to 6.6 are three networks on pictures (emotions and action units, experiments E1 and
E2), 6.7 reads action units first, 6.8 is clips with and without sound, 6.9 what people make of
CREMA-D. Beyond the thesis: `cross` tests the networks of one data set on another, `modalities`
masks sound and video of one network and fuses two, `voices` holds networks that only listen
against people who only listened, `times` is what networks cost. Without --data, people are drawn:
the figures then say nothing about real faces, and every table says so. A run that is done is kept:
the same command goes on where it was stopped, and gives the same figures.

Examples:
  python experiments/tables.py all --small
  python experiments/tables.py 6.1 6.2 --data data/fer2013 --epochs 20
  python experiments/tables.py 6.8 --data data/crema_d data/crema_d-thesis --folds 5
  python experiments/tables.py modalities --data data/crema_d --folds 5
  python experiments/tables.py cross --data data/fer2013 data/ck_plus
  python experiments/tables.py voices 6.9 --data CREMA-D --cross-validated runs/crema_d_voices/folds
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import tyro
from presets import PRESETS, VOICES
from tables_data import ON_CLIPS, ON_PICTURES, Given, find_given

from emojax.cli import run_guarded
from emojax.compiler import compiled_once, compiled_quickly
from emojax.config import TrainConfig
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.memory import keep_freed_memory
from emojax.run import provenance
from emojax.stopping import StopTraining, signals_interrupt
from emojax.tables import published
from emojax.tables.ahead import Task, count_cores, work_ahead
from emojax.tables.calibrated import calibration_table
from emojax.tables.clip_tables import DRAWN_CLIPS, clip_table, rater_table
from emojax.tables.clips import (
    CrossValidated,
    clip_tasks,
    has_sound,
    read_cross_validation,
    same_clips,
    say_mute,
    study_clips,
)
from emojax.tables.costs import cost_table, shapes_of
from emojax.tables.cross import ONE_SET, Home, cross, cross_table
from emojax.tables.explained import contributions_table, picture_task
from emojax.tables.modalities import NETWORKS as MODALITY_NETWORKS
from emojax.tables.modalities import Ablation, ablate, modality_pairs, modality_table
from emojax.tables.page import draw_clips, draw_modalities, draw_study, write_tables
from emojax.tables.pairs import clip_pairs, pairs_table, picture_pairs
from emojax.tables.pictures import SYNTHETIC, emotion_table, perceptron_table, unit_table
from emojax.tables.table import Table
from emojax.tables.trained import (
    PictureStudy,
    called_apart,
    folds_command,
    has_neutral,
    has_units,
    picture_runs,
    protocol_config,
    study_pictures,
    train_command,
    train_each,
)
from emojax.tables.voices import voice_table

BEYOND = ("cross", "modalities", "voices", "times")
NAMES = (*sorted({*ON_PICTURES, *ON_CLIPS, "6.9"} - {*BEYOND}), *BEYOND)

# What --small trains: every part runs, and the figures are poor.
STUDIO_NETWORKS = ("resnet18",)
SMALL_BLOCKS = {
    "resnet18": (1, 1, 1, 1),
    "inception_v4": (1, 1, 1),
    "inception_resnet": (1, 1, 1),
}
SMALL_EPOCHS, SMALL_CLIP_EPOCHS, SMALL_FOLDS = 2, 5, 3
MOST_JOBS = 4
"""Each takes about 2 GiB of memory."""
DEEPER = ((1, 1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4), (13, 13, 13, 13))

_Studied = TypeVar("_Studied", PictureStudy, Ablation)


@dataclasses.dataclass(frozen=True)
class TablesOptions:
    """Which tables, of what data, and how much is trained for them."""

    tables: Annotated[tuple[str, ...], tyro.conf.Positional] = ("all",)
    """6.1 to 6.9, cross, modalities, voices, times, or all."""
    data: tuple[str, ...] = ()
    """Folders of shards, of pictures or of clips, manifests, and CREMA-D's own folder for its
    votes; what is not given is drawn."""
    cross_validated: tuple[Path, ...] = ()
    """Runs that experiments/folds.py or a recipe has finished, on clips or voices: they get their
    rows as they are."""
    out: Path = Path("runs/tables")
    """Folder for runs, tables and the page."""
    small: bool = False
    """Few drawn people, networks with one block a stage, few epochs: minutes, and poor figures."""
    jobs: int | None = None
    """Trainings at a time on a CPU, each on its share of the cores; unset: one, and with --small as
    many as there are cores, four at most. The share decides about rounding, so another number gives
    figures that differ in their last digits."""
    seeds: tuple[int, ...] = (0,)
    """Of the trainings; several: the mean over them."""
    epochs: int | None = None
    """Of every training; unset: each network's own."""
    folds: int | None = None
    """Of clips and voices, by person; unset: one person is left out at a time."""
    networks: tuple[str, ...] = published.NETWORKS
    """Fewer of them, where time is short."""
    workers: int = os.cpu_count() or 1
    """Processes that draw and find faces."""


def wanted_tables(names: Sequence[str]) -> tuple[str, ...]:
    """Return the tables that are asked for, in order.

    Raises:
        UserError: one is not known.
    """
    for name in names:
        if name not in (*NAMES, "all"):
            raise UserError(f"table {name!r} is not known: use {', '.join(NAMES)}, or all")
    return tuple(name for name in NAMES if name in names or "all" in names)


def settings(options: TablesOptions) -> dict[str, TrainConfig]:
    """Return each network's settings; `voices` is ar5 without eyes."""
    found = {name: PRESETS[name] for name in (*published.NETWORKS, "ar5")} | {"voices": VOICES}
    for network, config in found.items():
        if options.small:
            config = dataclasses.replace(
                config,
                epochs=SMALL_EPOCHS if network in published.NETWORKS else SMALL_CLIP_EPOCHS,
                batch_size=16,
                blocks=SMALL_BLOCKS.get(network, ()),
                perceptron_epochs=4,
                validate_every=2,
            )
        if options.epochs is not None:
            config = dataclasses.replace(config, epochs=options.epochs)
        found[network] = config
    return found


def _protocols(wanted: Sequence[str], data: Path) -> list[tuple[str, str]]:
    """Return the networks and protocols that the tables need of a set of pictures."""
    pairs = []
    for tables in (published.EMOTION_TABLES, published.UNIT_TABLES):
        for number, network in tables.items():
            if number in wanted:
                pairs += [(network, "E1")] + [(network, "E2")] * has_neutral(data)
    if {"cross", "times"} & {*wanted}:
        pairs += [(network, "E1") for network in published.NETWORKS]
    if "6.7" in wanted and has_units(data):
        pairs += [(network, "AU first") for network in published.NETWORKS]
    return list(dict.fromkeys(pairs))


def _picture_commands(study: PictureStudy, presets: dict[str, TrainConfig]) -> dict[str, list[str]]:
    """Return the commands of each protocol's trainings."""
    found: dict[str, list[str]] = {}
    for (network, protocol), runs in study.runs.items():
        for trained in runs:
            config = protocol_config(presets[network], protocol, trained.config.seed)
            command = train_command(config, PRESETS[config.model], study.data, trained.folder)
            found.setdefault(f"{network} {protocol}", []).append(command)
    return found


def _clip_commands(tested: Sequence[CrossValidated]) -> list[str]:
    """Return the commands of the cross-validations; of one that was given, where its settings are.

    Each seed has its own.
    """
    return [
        folds_command(
            dataclasses.replace(one.config, seed=seed),
            PRESETS[one.config.model],
            one.data,
            one.folder.with_name(f"{one.folder.name.rpartition('-')[0]}-{seed}"),
            one.folds_file,
        )
        if one.folds_file
        else f"# settings of a run that was given: {one.folder / 'config.json'}"
        for one in tested
        for seed in one.seeds
    ]


def _can_train(data: Path) -> bool:
    examples = dataset_info(data).num_examples
    return bool(examples["train"] and examples["validation"])


class _ClipStudy(NamedTuple):
    """Networks for a set of clips or voices, of whose people everybody is tested."""

    data: Path
    preset: str
    inputs: tuple[str, ...]
    """Of `clips.INPUTS`."""
    folds: int | None
    shown: bool
    """In 6.8 or `voices`; not only among the modalities."""
    ablated: bool
    """Among the modalities."""


def _clip_studies(wanted: Sequence[str], given: Given, options: TablesOptions) -> list[_ClipStudy]:
    """Return what 6.8, `modalities` and `voices` want."""
    folds = options.folds or (SMALL_FOLDS if options.small else None)
    found, shown = [], "6.8" in given.clips_for
    for builds in same_clips(given.clips) if given.clips_for else ():
        for number, data in enumerate(builds if shown else builds[:1]):
            ablated = number == 0 and "modalities" in given.clips_for and has_sound(data)
            # The network that does not listen needs one of several builds of the same clips.
            inputs = ("video",) * (number == 0) + ("both",) * has_sound(data)
            if ablated:
                inputs = tuple(MODALITY_NETWORKS)
            if inputs and (shown or ablated):
                found.append(_ClipStudy(data, "ar5", inputs, folds, shown, ablated))
    for data in given.voices if "voices" in wanted else ():
        found.append(_ClipStudy(data, "voices", ("sound",), folds, True, False))
    return found


def _mute(wanted: Sequence[str], given: Given) -> list[str]:
    """Return what is said of sets of clips whose shards hold no sound."""
    if not {*wanted} & {*ON_CLIPS, "cross"}:
        return []
    return [say_mute(data) for data, *_ in same_clips(given.clips) if not has_sound(data)]


def _read_finished(folders: Sequence[Path]) -> list[CrossValidated]:
    """Return the runs that were given.

    Raises:
        UserError: one of them is given twice, is not finished, or has other shards by now.
    """
    known: set[Path] = set()
    for folder in folders:
        if folder.resolve() in known:
            raise UserError(f"{folder}: given twice: leave one of them out")
        known.add(folder.resolve())
    return [read_cross_validation(folder) for folder in folders]


def _study_all_clips(
    finished: Sequence[CrossValidated],
    wanted: Sequence[str],
    given: Given,
    options: TablesOptions,
    presets: dict[str, TrainConfig],
) -> tuple[list[CrossValidated], list[Ablation]]:
    """Return what 6.8 and `voices` show, runs that were given first, and what `modalities` does."""
    tested = [*finished]
    ablations: list[Ablation] = []
    for study in _clip_studies(wanted, given, options):
        base, runs = presets[study.preset], options.out / "runs"
        done = study_clips(study.data, runs, base, study.inputs, options.seeds, study.folds)
        if study.shown:
            in_68 = ("video", "both") if study.preset == "ar5" else study.inputs
            tested += [one for one in done if one.inputs in in_68]
        if study.ablated:
            ablations.append(ablate(done))
    return tested, _named(ablations)


def _named(studied: list[_Studied]) -> list[_Studied]:
    """Return studies whose data sets are not called alike."""
    names = called_apart([one.name for one in studied], [one.data for one in studied])
    return [dataclasses.replace(one, name=name) for one, name in zip(studied, names, strict=True)]


class _PictureStudy(NamedTuple):
    """Networks for a set of pictures, or of whole clips, with its own test people."""

    data: Path
    pairs: list[tuple[str, str]]
    """Networks and protocols."""


def _picture_studies(
    wanted: Sequence[str], given: Given, options: TablesOptions
) -> list[_PictureStudy]:
    """Return what 6.1 to 6.7 want of each set of pictures.

    Raises:
        UserError: a set lacks people to train on, to choose by or to test.
    """
    found = []
    for data in given.pictures:
        # Who has nobody to train on is tested on alone, by the networks of another set.
        if "cross" in wanted and not _can_train(data):
            continue
        pairs = [pair for pair in _protocols(wanted, data) if pair[0] in options.networks]
        if pairs:
            _require_everybody(data)
        found.append(_PictureStudy(data, pairs))
    return found


def _require_everybody(data: Path) -> None:
    # Now, and not when everything is trained.
    for split, count in dataset_info(data).num_examples.items():
        if not count:
            raise UserError(
                f"{data}: nobody is in the split `{split}`: these tables train, choose and test, "
                "so put people there (a manifest's column `split`) and build it again"
            )


_Crossing = tuple[list[_PictureStudy], list[_PictureStudy]]
"""What `cross` wants: of sets of pictures, and of sets of clips."""


def _crossed_studies(given: Given, options: TablesOptions) -> _Crossing:
    """Return what `cross` wants of each set of pictures, and of each set of clips.

    Raises:
        UserError: a set has people to train on and to choose by, and nobody to test.
    """

    def study(data: Path, networks: Sequence[str]) -> _PictureStudy:
        pairs = [(network, "E1") for network in networks] if _can_train(data) else []
        if pairs:
            _require_everybody(data)
        return _PictureStudy(data, pairs)

    pictures = [study(data, options.networks) for data in given.pictures]
    if given.studio:
        chosen = [name for name in STUDIO_NETWORKS if name in options.networks]
        pictures.append(study(given.studio, chosen))
    clips = [data for data, *_ in same_clips(given.clips) if has_sound(data)]
    return pictures, [study(data, ["ar5"]) for data in clips] if len(clips) > 1 else []


def _tasks(
    wanted: Sequence[str],
    given: Given,
    crossing: _Crossing,
    options: TablesOptions,
    presets: dict[str, TrainConfig],
) -> list[Task]:
    """Return all trainings, those that take longest first."""
    runs, seeds = options.out / "runs", options.seeds
    found: dict[Path, Task] = {}
    studied = _picture_studies(wanted, given, options)
    of_pictures, of_clips = crossing
    for number, study in enumerate((*studied, *of_pictures, *of_clips)):
        for run in picture_runs(study.data, runs, presets, study.pairs, seeds):
            explained = number < len(studied) and run.config.seed == seeds[0]
            found.setdefault(run.folder, picture_task(run, explained=explained))
    # The deeper, the longer: compiling is most of a small training.
    order = ("inception_v4", "inception_resnet")
    tasks = sorted(found.values(), key=lambda task: not task.title.startswith(order))
    for study in _clip_studies(wanted, given, options):
        for inputs in study.inputs:
            base = presets[study.preset]
            tasks += clip_tasks(study.data, runs, base, inputs, seeds, study.folds)
    return tasks


def _any_drawn(crossed: Sequence[_PictureStudy]) -> bool:
    """Whether people are drawn, on whom there are figures: one set has none."""
    return len(crossed) > 1 and any(
        dataset_info(study.data).name == "synthetic" for study in crossed
    )


def _of_studio(home: Home) -> str:
    """Return what is said of the set that is drawn for `cross` alone."""
    who = ", ".join(home.networks)
    done = f"trained there too: {who}" if who else "nothing was trained there, and all are tested"
    return f"{home.data.name}: other drawn people, in the studio (S1) alone; {done}."


def _cross_all(
    crossing: _Crossing,
    given: Given,
    options: TablesOptions,
    presets: dict[str, TrainConfig],
    mute: Sequence[str],
    whole: str,
) -> Table:
    """Return the table `cross`."""
    runs, seeds = options.out / "runs", options.seeds
    crossed, notes, commands = [], [], []
    sets = []
    for kind, drawn in zip(crossing, (SYNTHETIC, DRAWN_CLIPS), strict=True):
        homes = []
        for study in kind:
            done = train_each(study.data, runs, presets, study.pairs, seeds)
            homes.append(Home(study.data, {network: found for (network, _), found in done.items()}))
        found, said = cross(homes)
        said = [drawn] * _any_drawn(kind) + said
        said += [_of_studio(home) for home in homes if home.data == given.studio]
        crossed, notes, sets = crossed + found, notes + said, [*sets, len(homes)]
        commands += [
            train_command(run.config, PRESETS[network], home.data, run.folder)
            for home in homes
            for network, trainings in home.networks.items()
            for run in trainings
        ]
    notes += mute
    if max(sets) < 2:
        notes.append(ONE_SET)
    return cross_table(crossed, notes, [whole, *commands])


def _jobs(options: TablesOptions) -> int:
    """Return how many trainings are done at a time.

    Raises:
        UserError: fewer than one is asked for.
    """
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"jobs={options.jobs}: wanted 1 or more")
    # An accelerator belongs to one process.
    if jax.default_backend() != "cpu":
        return 1
    return options.jobs or (min(count_cores(), MOST_JOBS) if options.small else 1)


def make_tables(options: TablesOptions, arguments: Sequence[str]) -> Path:
    """Return the page, having trained what was missing and written every table.

    Raises:
        UserError: data and tables do not fit together.
        StopTraining: someone asked to stop.
    """
    wanted, presets = wanted_tables(options.tables), settings(options)
    unknown = [name for name in options.networks if name not in published.NETWORKS]
    if unknown or not options.networks:
        raise UserError(f"networks {unknown}: use some of {', '.join(published.NETWORKS)}")
    if not options.seeds or len({*options.seeds}) < len(options.seeds):
        raise UserError(f"seeds={options.seeds}: wanted one or more, each once, as --seeds 0 1 2")
    for seed in options.seeds:
        # Now, and not when everything is drawn: the settings refuse one that can't be.
        dataclasses.replace(VOICES, seed=seed)
    if options.folds is not None and options.folds < 2:
        raise UserError(
            f"folds={options.folds}: wanted 2 or more; unset, one is left out at a time"
        )
    jobs = _jobs(options)
    # Now, and not when everything is trained.
    finished = _read_finished(options.cross_validated)
    given = find_given(
        options.data,
        wanted,
        seeing=any(one.inputs != "sound" for one in finished),
        small=options.small,
        workers=options.workers,
    )
    mute = _mute(wanted, given)
    for said in mute:
        print(said, flush=True)
    runs = options.out / "runs"
    crossing = _crossed_studies(given, options) if "cross" in wanted else ([], [])
    whole = f"python experiments/tables.py {shlex.join(arguments)}".strip()
    if jobs > 1:
        tasks = _tasks(wanted, given, crossing, options, presets)
        work_ahead(tasks, jobs, options.out / "logs", quickly=options.small)
    studies = _named(
        [
            study_pictures(study.data, runs, presets, study.pairs, options.seeds)
            for study in _picture_studies(wanted, given, options)
        ]
    )
    tested, ablations = _study_all_clips(finished, wanted, given, options, presets)
    crossed = None
    if "cross" in wanted:
        crossed = _cross_all(crossing, given, options, presets, mute, whole)
    tables = _all_tables(
        wanted, studies, tested, ablations, crossed, given, options, presets, mute, whole
    )
    pictures = [picture for study in studies for picture in draw_study(study)]
    pictures += [*draw_clips(tested), *map(draw_modalities, ablations)]
    where = provenance()
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    return write_tables(
        options.out,
        "Tables of emotion and action-unit recognition",
        tables,
        pictures,
        _notices(
            any(one.synthetic for one in (*studies, *tested, *ablations))
            or any(map(_any_drawn, crossing)),
            options,
        ),
        (
            whole,
            f"emojax {where['emojax']}, commit {where['commit'] or 'unknown'}, Python "
            f"{where['python']}, {packages}; {where['device']['kind']}.",
            f"Beside ours stand figures of {published.THESIS}: N.-C. Ristea, Emotion recognition "
            "using deep neural networks, BSc thesis, Universitatea POLITEHNICA din Bucuresti.",
        ),
    )


def _notices(drawn: bool, options: TablesOptions) -> list[str]:
    """Return what is said above all tables.

    Args:
        drawn: whether any of the people is.
        options: how much was trained.
    """
    notices = []
    if drawn:
        notices.append(
            "Synthetic people: the figures say how well drawings are read, nothing about real "
            "faces or voices."
        )
    if options.small:
        notices.append(
            "The small setting: few people, one block a stage, few epochs. It shows that every "
            "part runs; its figures are no network's worth. A network trained alone, by its own "
            "command, differs in the last digits: here programs are compiled to be done soon."
        )
    return notices


def _all_tables(
    wanted: Sequence[str],
    studies: Sequence[PictureStudy],
    tested: Sequence[CrossValidated],
    ablations: Sequence[Ablation],
    crossed: Table | None,
    given: Given,
    options: TablesOptions,
    presets: dict[str, TrainConfig],
    mute: Sequence[str],
    whole: str,
) -> list[Table]:
    commands: dict[str, list[str]] = {}
    for study in studies:
        for name, words in _picture_commands(study, presets).items():
            commands.setdefault(name, []).extend(words)

    def of(*names: str) -> list[str]:
        return [whole, *(word for name in names for word in commands.get(name, ()))]

    pairs = [pair for study in studies for pair in picture_pairs(study)]
    pairs += [*clip_pairs(tested), *modality_pairs(ablations)]
    tables = [pairs_table(pairs, [whole])] if pairs else []
    for number in wanted:
        network = (published.EMOTION_TABLES | published.UNIT_TABLES).get(number)
        if number in published.EMOTION_TABLES:
            tables.append(emotion_table(number, studies, of(f"{network} E1", f"{network} E2")))
        elif number in published.UNIT_TABLES:
            tables.append(unit_table(number, studies, of(f"{network} E1", f"{network} E2")))
        elif number == "6.7":
            names = [f"{name} AU first" for name in published.NETWORKS]
            tables.append(perceptron_table(studies, of(*names)))
            if explained := contributions_table(studies, of(*names)):
                tables.append(explained)
        elif number == "6.8":
            seeing = [one for one in tested if one.inputs != "sound"]
            tables.append(clip_table(seeing, [whole, *_clip_commands(seeing)], mute))
        elif number == "voices":
            listening = [one for one in tested if one.inputs == "sound"]
            trained = _clip_commands(listening)
            tables.append(voice_table(listening, given.votes, [whole, *trained]))
        elif number == "6.9":
            tables.append(rater_table(given.votes, [whole]))
        elif number == "cross":
            tables += [crossed] if crossed else []
        elif number == "modalities":
            trained = _clip_commands([one for study in ablations for one in study.networks])
            tables.append(modality_table(ablations, [whole, *trained], mute))
        elif studies:
            spec = dataset_info(studies[0].data).input_spec
            deeper = shapes_of(PRESETS["resnet18"], DEEPER)
            trained = of(*(f"{name} E1" for name in published.NETWORKS))
            tables.append(
                cost_table(studies[0], spec, deeper, options.out / "costs", trained, _jobs(options))
            )
    if any(protocol == "E1" for study in studies for _, protocol in study.runs):
        tables.append(calibration_table(studies, [whole]))
    return tables


def main(arguments: Sequence[str]) -> int:
    """Make the tables; return the exit status."""
    keep_freed_memory()
    options = tyro.cli(TablesOptions, args=list(arguments), description=__doc__, prog="tables.py")
    try:
        quickly = compiled_quickly() if options.small else contextlib.nullcontext()
        with signals_interrupt(), compiled_once(), quickly:
            page = make_tables(options, arguments)
    except StopTraining as stop:
        print(f"{stop}: the same command goes on from there", file=sys.stderr)
        return 128 + stop.number
    print((options.out / "tables.md").read_text(encoding="utf-8"))
    print(f"wrote {page}, and beside it tables.md, tables/*.csv, *.md, *.tex and figures/*.png")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("tables.py", lambda: main(sys.argv[1:])))
