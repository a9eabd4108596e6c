"""`cans models`."""

from pathlib import Path

import click

from cans.settings import Command, CommandWithParts, part_named
from cans.shared_options import models_dir_option

_EPILOG = (
    "Settings: flags, then environment, then the file's section [models].\n\n"
    "Exit codes: 0 done, 2 a setting cannot work or there is no such model, 130 Ctrl-C."
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("models", cls=CommandWithParts, epilog=_EPILOG)
@models_dir_option(home=True)
@click.pass_context
def models(ctx: click.Context, *, models_dir: Path) -> None:
    """Keep models by hash in a folder, for edge workers and devices to load.

    An edge worker with --models-dir serves every model of its folder, and takes up what is added while it
    runs; it never loads a model that came over the bus. A device with --models-dir plays the model that a
    name stands for, and goes over to another one between two frames when the name does.

    Whoever can write the folder decides what is computed: keep it your own. A model of module:callable needs
    that package installed wherever it is loaded.

    \b
    Examples:
      cans models add mobilenet_v2 --weights mobilenet_v2.safetensors --use current
      cans models add mobilenet_v2 --bottleneck bottleneck.safetensors --exits exits.safetensors
      cans models add 'mypackage.models:make({"width": 0.5})'
      cans models list
      cans models use current 1a2b
      cans models remove 0f3c
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        from cans.models_view import show_all  # noqa: PLC0415 - see cans/commands/__init__.py

        show_all(models_dir, as_json=False)


@models.command("list", cls=Command, epilog=_EPILOG)
@models_dir_option(home=True)
@click.option("--json", "for_programs", is_flag=True, help="One JSON object a line, for programs.")
def list_(*, models_dir: Path, for_programs: bool) -> None:
    """Name every model: hash, names, size, when it was added, from where."""
    from cans.models_view import show_all  # noqa: PLC0415

    show_all(models_dir, as_json=for_programs)


@models.command("show", cls=Command, epilog=_EPILOG)
@click.argument("model", metavar="MODEL")
@models_dir_option(home=True)
@click.option("--check", is_flag=True, help="Load it too, and recompute its hash.")
def show(*, model: str, models_dir: Path, check: bool) -> None:
    """Print the manifest of one model: a name, a hash, or its first digits."""
    from cans.models_view import show_one  # noqa: PLC0415

    show_one(models_dir, model, check=check)


@models.command("add", cls=Command, epilog=_EPILOG)
@click.argument("source", metavar="SOURCE")
@models_dir_option(home=True)
@click.option("--weights", type=_FILE, help="Weights: .safetensors, or a state dictionary.")
@click.option("--weights-seed", default=0, help="Seed of weights that come from no file.")
@click.option(
    "--bottleneck",
    "bottlenecks",
    type=_FILE,
    multiple=True,
    help="File of `cans train bottleneck` for this model, to go with it. Repeat for more.",
)
@click.option("--exits", type=_FILE, help="File of `cans train exits` for this model, to go with it.")
@click.option("--use", metavar="NAME", help="Let this name stand for it at once.")
def add(
    *,
    source: str,
    models_dir: Path,
    weights: Path | None,
    weights_seed: int,
    bottlenecks: tuple[Path, ...],
    exits: Path | None,
    use: str | None,
) -> None:
    """Add a model: mobilenet_v2, resnet18, module:callable({"argument": 1}) or an archive FILE.pt2.

    The source is opened here and now, so it must be one that you trust. The model appears in the folder all
    at once or not at all. Of a model that is there already, the bottlenecks or the exits that are given take
    the place of those that it has.
    """
    from cans.models_view import add_one  # noqa: PLC0415

    add_one(
        models_dir,
        source,
        weights=weights,
        seed=weights_seed,
        bottlenecks=bottlenecks,
        exits=exits,
        name=use,
    )


@models.command("use", cls=Command, epilog=_EPILOG)
@click.argument("name", metavar="NAME")
@click.argument("model", metavar="MODEL")
@models_dir_option(home=True)
def use(*, name: str, model: str, models_dir: Path) -> None:
    """Let a name stand for a model from now on: devices that play the name go over to it."""
    from partition.models.folder import use as point  # noqa: PLC0415

    click.echo(f"{name} is {point(models_dir, name, model)}")


@models.command("remove", cls=Command, epilog=_EPILOG)
@click.argument("model", metavar="MODEL")
@models_dir_option(home=True)
def remove(*, model: str, models_dir: Path) -> None:
    """Remove a model, and the names that stand for it.

    Edge workers that serve it stop to announce it at once, and answer what still comes for a minute.
    """
    from partition.models.folder import remove as take  # noqa: PLC0415

    hash_, names = take(models_dir, model)
    click.echo(" and ".join((f"removed {hash_}", *(f"the name {name}" for name in names))))
