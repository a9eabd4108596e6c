"""Where in a person's own code something went wrong: file, line and module, for one sentence."""

import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.autograd.function import FunctionCtx

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)
_WRITTEN = re.compile(r'File "([^"]+)", line (\d+)')


def place_of(error: BaseException, network: nn.Module) -> str:
    """Return " at FILE:LINE in MODULE (its path)" of the innermost line of the person's code, or nothing."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if any(frame.f_code.co_name == "forward" for frame, _ in frames):
        for depth, (frame, line) in reversed(list(enumerate(frames))):
            if _is_theirs(frame):
                outwards = (frame for frame, _ in reversed(frames[: depth + 1]))
                return f" at {_file(frame)}:{line}{_inside(outwards, network)}"
    # Where a graph is worked on, not the network called, torch writes the network's own lines into the text.
    written = [each for each in _WRITTEN.findall(str(error)) if not each[0].startswith((_TORCH, "<"))]
    return f" at {Path(written[-1][0]).name}:{written[-1][1]}" if written else ""


def function_in(network: nn.Module, call: Callable[[], object]) -> str:
    """Return " NAME at FILE:LINE in MODULE (its path)" of the first autograd.Function that a call uses.

    Such a function may do what torch cannot follow (free its input, keep it for later), and then the exporter
    fails at the end, with no line of anybody's.

    Args:
        network: that is called.
        call: calls it as it is, without any tracing.
    """
    found: list[str] = []

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or found or not _is_theirs(frame):
            return
        context = _first_argument(frame)
        if isinstance(context, FunctionCtx):
            name = type(context).__name__.removesuffix("Backward")
            line = frame.f_code.co_firstlineno
            found.append(f" {name} at {_file(frame)}:{line}{_inside(_outwards(frame), network)}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    except Exception:  # noqa: BLE001 - it is the person's code, and has been called before
        return ""
    finally:
        sys.setprofile(before)
    return found[0] if found else ""


def _inside(frames: Iterable[FrameType], network: nn.Module) -> str:
    """Return " in MODULE (its path)" of the innermost module whose method runs, or nothing."""
    for frame in frames:
        owner = _first_argument(frame)
        if isinstance(owner, nn.Module):
            path = next((name for name, module in network.named_modules() if module is owner), "")
            return f" in {type(owner).__name__}" + (f" ({path})" if path else "")
    return ""


def _outwards(frame: FrameType | None) -> Iterable[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _first_argument(frame: FrameType) -> Any:  # noqa: ANN401 - of anybody's function
    return frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_argcount else None


def _is_theirs(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith((_TORCH, _OURS, "<"))


def _file(frame: FrameType) -> str:
    return Path(frame.f_code.co_filename).name
