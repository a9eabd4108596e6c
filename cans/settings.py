"""Where a command's settings come from: flags, then environment, then a TOML file, then defaults.

The file has one section a command and `[broker]`, shared by all:

    [broker]
    url = "mqtts://cam-1@broker.example:8883"
    ca = "ca.pem"

    [device]
    id = "cam-1"
    warm-start = 40

Every setting is a click option; nothing reads the environment or a file behind click's back, so
`--show-settings` can say of each value where it came from. This file must never know any one setting.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bus.errors import CansError, ConfigurationError

DEFAULT_FILE = Path("cans.toml")
PASSWORD_VARIABLE = "CANS_BROKER_PASSWORD"  # noqa: S105 - the variable's name
# Keys of the shared section and the options they set.
SHARED = {
    "url": "broker",
    "ca": "ca",
    "cert": "cert",
    "key": "key",
    "password_file": "password_file",
    "prefix": "prefix",
}
# The model folder is one for all commands of a machine, and so is its setting.
MODELS = "models"
_MODELS_DIR = "models_dir"
# Commands that run to their end and connect to nothing.
_NO_BROKER = frozenset(
    {
        "models",
        "provision",
        "backup",
        "partition",
        "profile",
        "train",
        "bottleneck",
        "exits",
        "simulate",
        "compare",
        "doctor",
        "completion",
        "version",
    }
)
# Commands that connect to no broker of the person's by default: [broker] does not set theirs.
_OWN_BROKER = _NO_BROKER | {"broker", "demo", "testbed"}
# The section that says which device types learn together.
GROUPS = "groups"
# Not settings: they say what to do with settings.
_META = frozenset({"config", "show_settings", "help"})
_SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.DEFAULT: "default",
    ParameterSource.PROMPT: "prompt",
}


class Sentence(click.ClickException):
    """A configuration error on its way to a person: one sentence on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - click's signature
        """Print the sentence, and nothing else."""
        click.echo(f"cans: {self.format_message()}", err=True, file=file)


class Failure(Sentence):
    """What failed while running, on its way to a person: exit code 1."""

    exit_code = 1


class Command(click.Command):
    """A command whose settings may also come from the file, and which can show them.

    Its name is its section, a key the long name of a flag. A `ConfigurationError` raised by its callback ends
    with exit code 2, Ctrl-C with 130.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's signature
        super().__init__(*args, **kwargs)
        self.context_settings = {"show_default": True, "max_content_width": 100, **self.context_settings}
        for option in self.params:
            if isinstance(option, click.Option):
                option.show_envvar = True
                if option.envvar is None:
                    option.envvar = _variable(self.name, option)
        self.params += [_config_option(), _show_option()]
        stopped = "" if self.name in _NO_BROKER else " or stopped by SIGTERM"
        self.epilog = self.epilog or (
            f"Settings: flags, then environment, then the file's section {_sections(self.name)}.\n\n"
            f"Exit codes: 0 done{stopped}, 1 failed while running, 2 a setting cannot work, 130 Ctrl-C."
        )

    @property
    def keys(self) -> dict[str, str]:
        """What may be set: key in the file to click's name of the parameter."""
        return {
            key_of(option): option.name
            for option in self.params
            if option.name and option.name not in _META and isinstance(option, click.Option)
        }

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the callback returns
        """Show the settings, or run with them."""
        if ctx.params.pop("show_settings", False):
            click.echo(render_settings(ctx))
            return None
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise Sentence(str(error)) from None
        except CansError as error:
            raise Failure(str(error)) from None
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None


class Parts(click.Group):
    """A group whose name is in its commands' variables: CANS_BACKUP_WRITE_OUT is of `cans backup write`."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command in."""
        for option in cmd.params:
            if option.envvar == _variable(cmd.name, option):
                option.envvar = _variable(f"{self.name}_{cmd.name}", option)
        super().add_command(cmd, name)


def _variable(command: str | None, option: click.Parameter) -> str:
    return f"CANS_{command}_{key_of(option)}".upper().replace("-", "_")


class CommandWithParts(Command, Parts):
    """A command that does its own work when none of its parts is named: `cans NAME`, `cans NAME PART`.

    click calls its callback in both cases; the callback asks `part_named` first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's signature
        super().__init__(*args, invoke_without_command=True, subcommand_metavar="[PART [ARGS]...]", **kwargs)


def part_named(ctx: click.Context) -> bool:
    """Whether a part of this command is to be run, and not the command itself.

    Raises:
        ConfigurationError: a flag stands before the part's name, where it would be lost.
    """
    if ctx.invoked_subcommand is None:
        return False
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
            raise ConfigurationError(
                f"{option.opts[0]} stands before {ctx.invoked_subcommand}: write "
                f"`{ctx.command_path} {ctx.invoked_subcommand}` first and its options after it"
            )
    return True


def _sections(name: str | None) -> str:
    return f"[{name}]" if name in _OWN_BROKER else f"[{name}] and, for the broker's address, [broker]"


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        envvar="CANS_CONFIG",
        show_envvar=True,
        callback=_read_file,
        help=f"TOML file with settings; ./{DEFAULT_FILE} when there is one.",
    )


def _show_option() -> click.Option:
    return click.Option(
        ["--show-settings"],
        is_flag=True,
        help="Print every effective setting and where it came from, and do nothing.",
    )


def _read_file(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
    """Make the file's values the defaults of this context (click calls it before all other options)."""
    path = given or DEFAULT_FILE
    if given is None and not path.is_file():
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        ctx.default_map = {**(ctx.default_map or {}), **settings_of(tables, ctx)}
    except OSError as error:
        raise Sentence(f"cannot read {path}: {error.strerror}; give an existing file to --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Sentence(f"{path} is not TOML: {error}") from None
    except ConfigurationError as error:
        raise Sentence(f"{path}: {error}") from None
    ctx.meta["cans.config"] = path


def settings_of(tables: Mapping[str, Any], ctx: click.Context) -> dict[str, Any]:
    """Return the settings that a file's tables hold for the command of `ctx`.

    Raises:
        ConfigurationError: for a section or key that does not exist, with the nearest one that does.
    """
    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    commands = {name: _keys_of(group.get_command(root, name)) for name in group.list_commands(root)}
    for section, table in tables.items():
        if section == GROUPS:
            continue  # not settings: the aggregator reads them itself
        _require_known(section, {*commands, GROUPS}, "section")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{section!r} is a section: write [{section}] with its settings below")
        known = {*commands[section], *(SHARED if section == "broker" else ())}
        for key in table:
            _require_known(_word(key), known, f"[{section}] setting")
    name = ctx.command.name or ""
    own = _keys_of(ctx.command)
    # A part of a command has no section of its own, whatever it is called.
    section = tables.get(name, {}) if ctx.parent is root else {}
    values = {_word(key): value for key, value in section.items()}
    # The demo starts a broker of its own; it must not take a site's by surprise.
    if name not in _OWN_BROKER:
        shared = {_word(key): value for key, value in tables.get("broker", {}).items()}
        values = {SHARED[key]: value for key, value in shared.items() if key in SHARED} | values
    folder = {_word(key): value for key, value in tables.get(MODELS, {}).items()}
    values = {key: value for key, value in folder.items() if key == _MODELS_DIR} | values
    return {own[key]: value for key, value in values.items() if key in own}


def key_of(option: click.Parameter) -> str:
    """The key of a setting: its flag's long name, with underscores."""
    return _word(next((flag for flag in option.opts if flag.startswith("--")), option.name or "").lstrip("-"))


def _keys_of(command: click.Command | None) -> dict[str, str]:
    return command.keys if isinstance(command, Command) else {}


def _word(key: str) -> str:
    """A key as it is compared: both warm-start and warm_start may be written."""
    return key.replace("-", "_")


def _require_known(word: str, known: Iterable[str], what: str) -> None:
    """Refuse a word that is not known, naming the nearest that is."""
    names = sorted(known)
    if word in names:
        return
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    listed = ", ".join(name.replace("_", "-") for name in names)
    hint = f"did you mean {near[0].replace('_', '-')!r}?" if near else f"there are {listed}"
    raise ConfigurationError(f"there is no {what} {word!r}: {hint}")


def render_settings(ctx: click.Context) -> str:
    """Every effective setting of this context, one a line: name, value, where it came from."""
    rows = []
    for option in ctx.command.params:
        if not option.name or option.name in _META:
            continue
        value = ctx.params.get(option.name)
        rows.append((key_of(option).replace("_", "-"), _shown(value), _origin(ctx, option)))
        if option.name == "password_file":
            rows.append(_password_row(value))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in rows)


def _shown(value: Any) -> str:  # noqa: ANN401 - any option's value
    if value is None or value == "":
        return "-"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _origin(ctx: click.Context, option: click.Parameter) -> str:
    """Flag, environment VARIABLE, file PATH, or default."""
    source = ctx.get_parameter_source(option.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return f"environment {option.envvar}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"file {ctx.meta['cans.config']}"
    return _SOURCES.get(source, "default") if source else "default"


def _password_row(password_file: Path | None) -> tuple[str, str, str]:
    """The password's line: whether there is one and from where, never what it is."""
    if password_file is not None:
        return ("password", "***", f"password-file {password_file}")
    if PASSWORD_VARIABLE in os.environ:
        return ("password", "***", f"environment {PASSWORD_VARIABLE}")
    return ("password", "-", "default")
