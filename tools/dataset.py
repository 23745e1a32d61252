"""Check, count, split and look at labelled pictures: `python -m tools.dataset check|stats|split|draw FOLDER`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.types import Pixels
from tools.datasets.checking import Report, check_folder
from tools.datasets.choosing import choose_classes
from tools.datasets.counting import INPUT_PX, SplitCounts, count_set, counts_table
from tools.datasets.drawing import COLUMNS, LARGEST_PX, TILE_PX, draw_histogram, draw_labels, draw_sheet
from tools.datasets.mistakes import SHOWN, Mistakes
from tools.datasets.opening import Layout, find_layout, load_set, read_set
from tools.datasets.pictures import Part, Picture, PictureSet
from tools.datasets.split_files import make_split_files, write_files
from tools.datasets.splitting import assign_splits, find_groups

EPILOG = "exit status: 0 done, 78 wrong data or arguments"


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(prog="python -m tools.dataset", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = _add(commands, "check", "decode everything; every mistake, and what is suspicious", run_check)
    check.add_argument(
        "--most", type=_positive, default=SHOWN, metavar="N", help="mistakes told one by one; default: %(default)s"
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    stats = _add(commands, "stats", "pictures, objects, sizes and shapes, by split", run_stats)
    stats.add_argument(
        "--input-px", type=_positive, default=INPUT_PX, metavar="PX", help="side of the input; default: %(default)s"
    )
    stats.add_argument("--json", action="store_true", help="print JSON")
    stats.add_argument("--picture", type=Path, metavar="FILE.png", help="also a sheet of pictures and a histogram of sizes")
    split = _add(commands, "split", "assign train and val; writes only with --write", run_split)
    split.add_argument("--val", type=_share, default=0.1, metavar="SHARE", help="of val; default: %(default)s")
    split.add_argument("--seed", type=int, default=1, help="the same seed gives the same split; default: %(default)s")
    group = split.add_mutually_exclusive_group()
    group.add_argument("--group", default="", metavar="COLUMN", help="column, or key of COCO images, that names the scene")
    group.add_argument(
        "--group-pattern", default="", metavar="REGEX", help="finds the scene in a file's name, e.g. '([^_/]+)_[^/]*$'"
    )
    split.add_argument("--write", action="store_true", help="write the split; the former files are kept as *.before")
    draw = _add(commands, "draw", "draw labels onto pictures, for people", run_draw)
    draw.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    draw.add_argument("--count", type=_positive, default=12, metavar="N", help="of pictures drawn by lot; default: %(default)s")
    draw.add_argument("--seed", type=int, default=1, help="of the lot; default: %(default)s")
    draw.add_argument("--split", choices=("train", "val", "test"), help="default: all")
    draw.add_argument("--name", default="", metavar="TEXT", help="only pictures whose file's name has this text")
    draw.add_argument("--single", action="store_true", help="a file a picture, larger, instead of one sheet")
    return parser


def _add(commands: Any, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", epilog=EPILOG)
    parser.add_argument("folder", type=Path, help="a folder of labelled pictures, of any layout")
    parser.add_argument("--layout", type=Layout, choices=list(Layout), metavar="LAYOUT", help="default: found out")
    parser.add_argument("--classes", type=_names, metavar="A,B,…", help="the wanted classes; default: those of the files")
    parser.set_defaults(run=run)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share between 0 and 1, e.g. 0.1")
    return share


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG


def run_check(arguments: argparse.Namespace) -> int:
    """Print the report; 78 where there are mistakes."""
    report = check_folder(arguments.folder, classes=arguments.classes, layout=arguments.layout, most=arguments.most)
    print(json.dumps(_check_json(report), indent=1, ensure_ascii=False) if arguments.json else _check_text(report))
    if report.mistakes.count:
        print(f"error: {report.mistakes}", file=sys.stderr)
        return EXIT_CONFIG
    return 0


def _check_json(report: Report) -> dict[str, Any]:
    return {
        "layout": report.layout.value,
        "pictures": len(report.found.pictures),
        "mistake_count": report.mistakes.count,
        "mistakes": [{"file": one.file, "place": one.place, "message": one.message} for one in report.mistakes.shown],
        "warnings": [{"code": one.code, "message": one.message, "examples": one.examples} for one in report.suspicions],
    }


def _check_text(report: Report) -> str:
    splits = Counter(one.origin.split or "no split" for one in report.found.pictures)
    told = ", ".join(f"{name} {count}" for name, count in splits.items())
    objects = sum(len(one.boxes) for one in report.found.pictures)
    what = f"{objects} objects" if report.found.part is Part.BOXES else f"a {report.found.part.value} each"
    count, kinds = len(report.found.pictures), len(report.found.classes)
    lines = [f"{report.found.name}: {report.layout.value}, {count} pictures ({told}), {what}, classes: {kinds}"]
    for one in report.suspicions:
        lines += [f"warning: {one.message} [{one.code}]", *(f"    {example}" for example in one.examples)]
    return "\n".join([*lines, "ok" if not report.mistakes.count else "not ok"])


def run_stats(arguments: argparse.Namespace) -> int:
    """Print the figures; write the picture."""
    found = _load(arguments)
    counts = count_set(found, input_px=arguments.input_px)
    if arguments.json:
        print(json.dumps({name: _counts_json(one) for name, one in counts.items()}, indent=1, ensure_ascii=False))
    else:
        print(counts_table(counts, found, input_px=arguments.input_px))
    if arguments.picture:
        sides = np.concatenate([one.sides_input_px for one in counts.values()])
        parts = [draw_sheet(_lot(found.pictures, count=3 * COLUMNS, seed=1), found)]
        if len(sides):
            title = f"{found.name}: square root of the area of {len(sides)} objects at {arguments.input_px} px, pixels"
            parts.append(draw_histogram(sides, title=title, width_px=COLUMNS * TILE_PX))
        _write_picture(arguments.picture, np.vstack(parts))
    return 0


def _counts_json(one: SplitCounts) -> dict[str, Any]:
    return {
        "pictures": one.pictures,
        "without_objects": one.without_objects,
        "ignored": one.ignored,
        "classes": dict(one.classes.most_common()),
        "sizes_own": one.sizes_own,
        "sizes_input": one.sizes_input,
        "aspect_percentiles_5_25_50_75_95": one.aspect,
    }


def run_split(arguments: argparse.Namespace) -> int:
    """Print both splits; write the new one if asked to."""
    mistakes = Mistakes(arguments.folder)
    layout = arguments.layout or find_layout(arguments.folder)
    found = read_set(arguments.folder, split=None, layout=layout, mistakes=mistakes, group_column=arguments.group)
    mistakes.refuse()
    wanted = choose_classes(found, arguments.classes) if arguments.classes and found.part is Part.BOXES else found
    groups = find_groups(found, pattern=arguments.group_pattern)
    splits = assign_splits(wanted, groups, val_share=arguments.val, seed=arguments.seed)
    texts = make_split_files(arguments.folder, layout, found, splits)
    alone = "" if arguments.group or arguments.group_pattern else "; without --group frames of one scene may come apart"
    print(f"{len(found.pictures)} pictures in {len(set(groups))} groups{alone}\nbefore:")
    print(_split_table(wanted, [one.origin.split or "none" for one in found.pictures]))
    print("after:")
    print(_split_table(wanted, splits))
    if not arguments.write:
        print(f"nothing written; --write changes {', '.join(str(path) for path in texts)}")
        return 0
    backups = write_files(texts)
    print("written: " + ", ".join(str(path) for path in texts))
    if backups:
        print("kept: " + ", ".join(str(path) for path in backups))
    return 0


def _split_table(found: PictureSet, splits: list[str], *, most_classes: int = 12) -> str:
    """Pictures, and objects (or pictures) of each class, with the share of val in both."""
    rows: dict[str, Counter[str]] = {"pictures": Counter(splits)}
    for one, split in zip(found.pictures, splits, strict=True):
        names = [one.label] if found.part is Part.LABEL else [found.classes[number] for number in one.class_ids[~one.ignored]]
        for name in names:
            rows.setdefault(name, Counter())[split] += 1
    columns = [name for name in ("train", "val", "test", "unlisted", "none") if name in splits]
    lines = [" " * 22 + "".join(f"{name:>10}" for name in columns) + f"{'val share':>12}"]
    for name, row in list(rows.items())[: most_classes + 1]:
        share = row["val"] / max(1, row["train"] + row["val"])
        lines.append(f"  {name:<20.20}" + "".join(f"{row[column]:>10}" for column in columns) + f"{share:>11.1%}")
    if len(rows) > most_classes + 1:
        lines.append(f"  … {len(rows) - most_classes - 1} more classes")
    return "\n".join(lines)


def run_draw(arguments: argparse.Namespace) -> int:
    """Write a sheet, or single pictures."""
    found = _load(arguments, split=arguments.split)
    matching = [one for one in found.pictures if arguments.name in (one.origin.file or one.name)]
    if not matching:
        raise InputError(f"{arguments.folder}: no picture has {arguments.name!r} in its file's name")
    pictures = _lot(matching, count=arguments.count, seed=arguments.seed)
    if not arguments.single:
        _write_picture(arguments.out / f"{found.name}.png", draw_sheet(pictures, found))
        return 0
    for one in pictures:
        name = PurePosixPath(one.origin.file or one.name).with_suffix(".png").as_posix().replace("/", "_")
        drawn = draw_labels(one, found, side_px=LARGEST_PX, caption=one.origin.split)
        _write_picture(arguments.out / name, drawn)
    return 0


def _load(arguments: argparse.Namespace, *, split: str | None = None) -> PictureSet:
    return load_set(arguments.folder, split=split, classes=arguments.classes, layout=arguments.layout, allows_unseen=True)


def _lot(pictures: Any, *, count: int, seed: int) -> list[Picture]:
    """So many pictures drawn by lot, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:count]
    return [pictures[number] for number in sorted(chosen.tolist())]


def _write_picture(path: Path, pixels_rgb: Pixels) -> None:
    is_written, encoded = cv2.imencode(".png", cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes() if is_written else b"")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    print(path)


if __name__ == "__main__":
    raise SystemExit(main())
