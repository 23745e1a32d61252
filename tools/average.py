"""A network between two: `python -m tools.average CHECKPOINT FIRST --share 0.8 --out FILE.pt`.

What a few thousand pictures of one's own teach costs a network some of what the many pictures of its first training had taught.
The mean of the weights before and after often knows both, at no cost when it runs.

Source: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from edged.errors import EXIT_CONFIG, EdgedError
from tools.nets.convolution import convolutions
from tools.nets.yolo import Yolo
from tools.train_detector import TrainSettings
from tools.training import load_checkpoint, save_checkpoint
from tools.weights import initialise


def main(argv: list[str] | None = None) -> int:
    """Write a checkpoint whose averaged weights lie between a trained network's and those that it began with."""
    parser = argparse.ArgumentParser(prog="python -m tools.average", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt of tools.train_detector")
    parser.add_argument("first", type=Path, help="what it began with: any file that --init of the training takes")
    parser.add_argument("--share", type=_share, required=True, help="of the checkpoint, between 0 and 1, e.g. 0.8")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt", help="for --init and tools.export")
    arguments = parser.parse_args(argv)
    try:
        kept = average(arguments.checkpoint, arguments.first, arguments.out, share=arguments.share)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{arguments.out}: {arguments.share:g} of {arguments.checkpoint}" + (f", all of {', '.join(kept)}" if kept else ""))
    return 0


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share between 0 and 1, e.g. 0.8")
    return share


def average(checkpoint: Path, first: Path, out: Path, *, share: float) -> list[str]:
    """Write the mean; the names of layers that the first weights lack, which stay the checkpoint's.

    Raises:
        InputError: a file cannot be read, or the first has nothing for this network.
    """
    state = load_checkpoint(checkpoint)
    settings = TrainSettings.model_validate(state["settings"])
    trained, began = Yolo(settings.network()), Yolo(settings.network())
    trained.load_state_dict(state["averaged"])
    missing = initialise(began, first)
    before = convolutions(began)
    with torch.no_grad():
        for name, conv in convolutions(trained).items():
            if name not in missing:
                weight = torch.lerp(before[name].plain_weight(), conv.plain_weight(), share)
                conv.set_weights(weight, torch.lerp(before[name].bias, conv.bias, share))
    told = f"tools.average: {share:g} of what was trained, {1 - share:g} of {first.name}"
    recipe = {**state["settings"], "history": [*settings.history, told]}
    weights = trained.state_dict()
    save_checkpoint(out, {"network": weights, "averaged": weights, "settings": recipe, "epoch": state["epoch"]})
    return missing


if __name__ == "__main__":
    raise SystemExit(main())
