"""What does the network see? One picture under many seeds, on one sheet.

python -m tools.augmentation --config configs/train/detector.yaml data/mine --out sheet.jpg [--only rotation]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ConfigDict, create_model

from edged.errors import EdgedError, InputError
from edged.vision.alignment import TEMPLATES
from tools.augmentation.settings import KINDS, AugmentationSettings
from tools.augmentation.sheet import draw_sheet, load_samples, write_sheet
from tools.settings_file import read_document, validate_settings


def main(argv: list[str] | None = None) -> int:
    """Draw a sheet: one picture of a set as the network would see it under many seeds, with its boxes, points and mask."""
    parser = argparse.ArgumentParser(prog="python -m tools.augmentation", description=main.__doc__)
    parser.add_argument("pictures", type=Path, help="a labelled set, a folder of pictures, or one picture")
    parser.add_argument("--config", type=Path, required=True, help="configs/train/detector.yaml")
    parser.add_argument("--out", type=Path, required=True, help="sheet.jpg or .png")
    parser.add_argument("--part", default="augmentation", help="key in the configuration, e.g. drawn_augmentation")
    parser.add_argument("--only", choices=KINDS, help="one kind, in every sample; all others off")
    parser.add_argument("--picture", type=int, default=0, help="number of the picture, from 0; the others are for mosaics")
    parser.add_argument("--seeds", type=int, default=24, help="how many, from 0")
    arguments = parser.parse_args(argv)
    try:
        settings, size = load_part(arguments.config, arguments.part)
        samples = load_samples(arguments.pictures)
        if not 0 <= arguments.picture < len(samples):
            raise InputError(
                f"--picture {arguments.picture}: expected 0 to {len(samples) - 1}, as many as {arguments.pictures} has"
            )
        settings = settings.only(arguments.only) if arguments.only else settings
        sheet = draw_sheet(samples, number=arguments.picture, size=size, settings=settings, n_seeds=arguments.seeds)
        write_sheet(arguments.out, sheet)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78 if isinstance(error, InputError) else 1
    print(f"{arguments.out}: {arguments.seeds} seeds; green boxes are taught, grey ones ignored")
    return 0


def load_part(path: Path, key: str) -> tuple[AugmentationSettings, tuple[int, int]]:
    """Augmentation under a key of a training configuration, and width and height of the network's input.

    Raises:
        InputError: naming the file, and what is wrong with it.
    """
    document = read_document(path)
    if not isinstance(document.data, dict) or key not in document.data:
        raise InputError(f"{path}: expected the key {key} at the top")
    template = TEMPLATES.get(str(document.data.get("template")))  # of aligned faces: its side is the network's
    fields = {key: (AugmentationSettings, ...), "input_px": (int | tuple[int, int], template.side_px if template else 320)}
    part = create_model("Part", __config__=ConfigDict(extra="forbid"), **fields)
    settings = validate_settings(part, {name: document.data[name] for name in fields if name in document.data}, document)
    sides = settings.input_px
    return getattr(settings, key), (sides, sides) if isinstance(sides, int) else sides


if __name__ == "__main__":
    raise SystemExit(main())
