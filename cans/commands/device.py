"""`cans device`."""

from pathlib import Path
from typing import Any, Literal

import click

from cans.settings import Command
from cans.shared_options import (
    backend_option,
    broker_address,
    broker_options,
    log_options,
    models_dir_option,
)
from device.policy_names import FIXED, NAMES

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("device", cls=Command)
@click.option(
    "--id", "id_", default="cam-1", help="Name of this device on the bus; two may not have the same."
)
@click.option(
    "--type", "type_", default="default", help="Its device type: devices of one type learn together."
)
@click.option(
    "--source",
    default="crops",
    help="crops: moving crops of built-in photographs. Or camera[:/dev/video0]; or a folder of images, an "
    "image or a video file, which is played once, or with --frames over and over until there were so many.",
)
@click.option("--frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option(
    "--fps",
    default=0.0,
    help="Frames a second; 0 takes the next when the last is answered. Where they come faster than answers, "
    "the newest waits and the one before it is dropped.",
)
@click.option(
    "--model",
    help="A built-in network (mobilenet_v2 when not given), module:callable or FILE.pt2; or a name or hash "
    "in --models-dir.",
)
@models_dir_option(
    help_="Play a model of this folder (`cans models`): --model is a name or a hash in it, current when not "
    "given. When the name comes to stand for another model, the device goes over to it between two frames."
)
@click.option("--poll-s", default=2.0, help="Seconds between two looks into the model folder.")
@click.option("--weights", type=_FILE, help="Weights of the network; seeded ones when not given.")
@click.option(
    "--weights-seed", default=0, help="Seed of weights that come from no file; the edge worker's own."
)
@click.option(
    "--codecs",
    help="Codecs (docs/codecs.md), comma separated; five when not given. The edge must have the same.",
)
@click.option(
    "--bottleneck",
    "bottlenecks",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="File of `cans train bottleneck`: an arm at its cut. Repeat for more; the edge worker's own.",
)
@click.option(
    "--exits",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of `cans train exits`: where one is sure, the device answers and sends nothing.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="torch threads; not given 1, or with --backend auto what is measured at the start to be best.",
)
@backend_option
@click.option(
    "--min-agreement",
    default=0.0,
    help="0 to 1: ban the arms whose best class is the uncut network's on fewer frames, measured at the "
    "start and kept in --state-dir; arms that lose nothing are not measured. 0 bans none.",
)
@click.option(
    "--agreement-images",
    type=click.Path(file_okay=False, path_type=Path),
    help="Measure agreement on images of this folder, at most 64; on 16 built-in frames when not given.",
)
@click.option(
    "--ban",
    default="",
    metavar="LABELS",
    help="Arms to do without, comma separated, such as 0/jpeg,1/int8-zstd. Those that send more than the "
    "broker takes are banned in any case; the one that sends nothing never is.",
)
@click.option(
    "--policy",
    default="fedlinucb_dw",
    help=f"Who chooses the arm: {', '.join(NAMES)}; or {FIXED}ARM, always that one, as {FIXED}0/jpeg.",
)
@click.option(
    "--compare", default="", help="Other policies, comma separated, that play the same frames in turns."
)
@click.option(
    "--alpha",
    default=1.0,
    help="Hand in what was learnt once the determinant of the gram has grown by more than the factor 1 + "
    "alpha: larger is fewer uploads and later news, 0 is one after every frame.",
)
@click.option(
    "--beta",
    "beta_s",
    type=float,
    help="Seconds of exploration: how much faster than expected a rarely played arm is hoped to be. When not "
    "given, fedlinucb_dw follows the spread of its data, and linucb takes 0.3.",
)
@click.option(
    "--regularisation",
    default=0.1,
    help="Lambda, the weight of knowing nothing. It must be the aggregator's --regularisation, whose group "
    "contains it.",
)
@click.option(
    "--view",
    type=click.Choice(["fresh", "strict"]),
    default="fresh",
    help="fresh: what was learnt here counts at once. strict: only once the group has sent it back, as in "
    "FedLinUCB.",
)
@click.option(
    "--feedback",
    type=click.Choice(["split", "total"]),
    default="split",
    help="split: learn two rows a frame, the device's part and the rest. total: one row, capture to answer.",
)
@click.option(
    "--link",
    type=click.Choice(["learned", "measured"]),
    default="measured",
    help="measured: each device estimates its own link, and how slow it and the edge worker are at present, "
    "for links that differ or move. learned: the group's parameters hold the link too. All devices of a type "
    "must say the same.",
)
@click.option(
    "--link-checks/--no-link-checks",
    default=True,
    help="With --link measured: after a frame that no edge worker answered, publish its feedback at QoS 1 "
    "and time the broker's acknowledgement, to know how the link does while nothing is offloaded.",
)
@click.option("--deadline-ms", default=1000.0, help="Milliseconds from capture to answer.")
@click.option(
    "--fallback-at", default=0.7, help="Part of the deadline after which the device finishes by itself."
)
@click.option(
    "--patience",
    default=0.0,
    help="Finish by itself sooner, once an answer was waited for so many times as long as that takes; 0: "
    "wait for as long as --fallback-at lets.",
)
@click.option(
    "--log-propensities",
    "explored",
    is_flag=False,
    flag_value=0.05,
    default=0.0,
    type=click.FloatRange(0.0, 1.0),
    metavar="[SHARE]",
    help="Draw the arm of this share of the frames from all arms, 0.05 when no number is given, and say in "
    "the feedback how likely each was: cans evaluate then tells what other policies would cost.",
)
@click.option(
    "--look-ahead/--no-look-ahead",
    default=True,
    help="With --fps and --link-checks: publish 2 kB shortly before a frame is due, and play it here if the "
    "broker's acknowledgement is late: the link has gone.",
)
@click.option(
    "--warm-start", default=40, help="Rows of early-exit experience before the first frame; 0 for none."
)
@click.option(
    "--profile",
    type=_FILE,
    help="File of cans profile, made on this machine: times for ans and neurosurgeon, and rows for the warm "
    "start, which then runs no early exits.",
)
@click.option(
    "--edge-profile",
    type=_FILE,
    help="File of cans profile, made on the edge worker's machine; for neurosurgeon.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps what was learnt over restarts; forgotten at the end when not given.",
)
@click.option("--seed", default=0, help="Seed of the moving crops.")
@click.option(
    "--wait-edge-s", default=10.0, help="Seconds to wait for an edge worker before the first frame."
)
@click.option("--flush-s", default=5.0, help="Seconds that the last upload may take at the end.")
@click.option("--metrics-s", default=5.0, help="Seconds between metrics messages.")
@click.option(
    "--wait-for-broker", is_flag=True, help="Work alone until the broker is there, instead of ending."
)
@click.option(
    "--emulate", type=_FILE, help="Pretend to be slower: file of cans profile, made on this machine."
)
@click.option("--slowness", default=1.0, help="With --emulate: how many times slower than this machine.")
@click.option(
    "--lab",
    is_flag=True,
    help="Be a device of a testbed: play what its coordinator (`cans testbed`) says over the bus, policies, "
    "frames and deadlines included, until it is told to leave.",
)
@click.option(
    "--lab-broker", metavar="URL", help="With --lab: take orders there; at --broker when not given."
)
@click.option(
    "--lab-cgroup",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --lab: once loaded, move into this cgroup, whose CPU quota makes it as slow as its type.",
)
@click.option("--detail", default="", help="A sentence for people in the retained state.")
@click.option("--summary", type=_FILE, help="Write what the run came to into this file, as JSON.")
@broker_options
@log_options
def device(
    *,
    id_: str,
    type_: str,
    model: str | None,
    models_dir: Path | None,
    codecs: str | None,
    bottlenecks: tuple[Path, ...],
    exits: Path | None,
    compare: str,
    ban: str,
    alpha: float,
    beta_s: float | None,
    regularisation: float,
    view: Literal["fresh", "strict"],
    feedback: Literal["split", "total"],
    link: Literal["learned", "measured"],
    link_checks: bool,
    emulate: Path | None,
    slowness: float,
    lab: bool,
    lab_broker: str | None,
    lab_cgroup: Path | None,
    summary: Path | None,
    log_format: str,
    log_level: str,
    **rest: Any,  # noqa: ANN401 - passed on whole
) -> None:
    """Run a device: frames in, answers out, and learn where to cut.

    For each frame the policy picks an arm: where to cut the network, and how to write what crosses. The
    head runs here, the tail on an edge worker; if no answer comes in time, the device finishes by itself.
    What each frame cost is learnt, and shared with devices of the same type through the aggregator.

    \b
    Examples:
      cans device --id cam-1 --type pi4 --broker mqtt://broker.local --state-dir state/cam-1
      cans device --id cam-2 --type pi4 --source camera --fps 5 --deadline-ms 200
      cans device --source photos/ --policy device_only --frames 100
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.device_root import DeviceSettings, run_to_summary  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.logs import configure_logs  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415
    from device.settings import learner_of  # noqa: PLC0415

    configure_logs(style=log_format, level=log_level)
    models_dir, model = _where(models_dir, model)
    broker = {name: rest.pop(name) for name in ("broker", "ca", "cert", "key", "password_file")}
    settings = DeviceSettings(
        id=id_,
        type=type_,
        broker=broker_address(**broker),
        model=model,
        models_dir=models_dir,
        codecs=tuple(codecs.split(",")) if codecs else None,
        bottlenecks=bottlenecks,
        exits=exits,
        compare=tuple(compare.split(",")) if compare else (),
        ban=tuple(ban.split(",")) if ban else (),
        learner=learner_of(
            alpha=alpha,
            beta_s=beta_s,
            regularisation=regularisation,
            view=view,
            feedback=feedback,
            link=link,
            link_checks=link_checks,
        ),
        **rest,
    )
    orders = (broker_address(lab_broker) if lab_broker else settings.broker) if lab else None
    run(lambda: run_to_summary(settings, summary, emulate, slowness, orders=orders, cgroup=lab_cgroup))


def _where(models_dir: Path | None, model: str | None) -> tuple[Path | None, str]:
    """Return the folder, unless the model is named by a source of its own, and the model's name."""
    from partition.networks.zoo import NAMES as BUILT_IN  # noqa: PLC0415 - torch, which --help does without

    if models_dir is None:
        return None, model or BUILT_IN[0]
    named_by_source = model is not None and (model in BUILT_IN or ":" in model or model.endswith(".pt2"))
    return (None if named_by_source else models_dir), model or "current"
