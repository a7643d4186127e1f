"""Command lines: every command takes settings in Hydra's override grammar, and prints a user error as one
line.

The only module that imports Hydra. Commands of ``coaches`` import it when they run, so that using ``coaches``
as a library does not load Hydra.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from conf import ROOT, ConfigError, nested, stopping
from conf.errors import reason, unknown, unplaced

REQUIRED = "???"
"""In place of a part's name: the command line must name one."""
PRIMARY = "settings"
"""Name of a primary configuration that a command composes with instead of ``config.yaml``."""
INVALID = (HydraException, OmegaConfBaseException, ValueError, TypeError)
"""What Hydra raises while it composes: the last two for values that no part can have, such as coach=null."""
NOISE = (
    "full_key",
    "object_type",
    "reference_type",
    "See https://",
    "Set the environment variable HYDRA_FULL_ERROR",
)
"""Beginnings of lines in messages of Hydra and OmegaConf that do not help the user."""
INTERRUPTED = (130, 143)
"""Exit codes after SIGINT and SIGTERM."""
AGENTS = "team"
"""The setting whose keys are agents, which no YAML lists: ``team.<agent>.<group>=<name>``."""
COMMANDS = ("learners", "benchmarks", "coaches")
"""Packages whose modules are commands."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def add_overrides(parser: ArgumentParser, help: str) -> None:
    """Adds the arguments that the ``compose…`` functions take: settings and ``--config-dir``."""
    parser.add_argument("overrides", nargs="*", metavar="setting=value", help=help)
    parser.add_argument("--config-dir", type=Path, help="folder of further YAMLs, <group>/<name>.yaml")


def is_override(word: str) -> bool:
    """Whether a word of the command line is a setting, and not a path."""
    return "=" in word or word.startswith("~")


def parse(words: Sequence[str]) -> list[Override]:
    """Returns ``words`` parsed by Hydra's override grammar.

    Raises:
        ConfigError: a word is not an override.
    """
    with _config_errors(words):
        parsed: list[Override] = OverridesParser.create().parse_overrides(list(words))
    return parsed


def choices(override: Override) -> list[str]:
    """Returns the names of ``coach=a,b``, or of ``coach=a``."""
    if override.is_sweep_override():
        return [str(choice) for choice in override.sweep_string_iterator()]
    return [str(override.value())]


def compose(overrides: Sequence[str], *, config_dir: Path | None = None) -> DictConfig:
    """Returns the configuration of a run, as ``python -m learners.train`` gets it.

    Raises:
        ConfigError: an override is malformed, or names what does not exist.
    """
    return _compose("config", overrides, config_dir)


def compose_parts(
    overrides: Sequence[str], parts: Mapping[str, str | None], *, config_dir: Path | None = None
) -> DictConfig:
    """Returns the nodes of single parts, for commands that need no whole run.

    ``parts``: group -> the part if the command line names none: a name, ``REQUIRED``, or None for no part.
    A part outside the project may also be named by its module, ``coach=my.module coach.setting=3``, and then
    needs no YAML.

    Raises:
        ConfigError: an override is malformed or names what does not exist, or a required part is missing.
    """
    modules = {
        one.key_or_group: value
        for one in parse(overrides)
        if one.key_or_group in parts and isinstance(value := one.value(), str) and "." in value
    }
    words = [_of_module(word, one, modules) for word, one in zip(overrides, parse(overrides), strict=True)]
    defaults = [{group: None if group in modules else name} for group, name in parts.items()]
    composed = _compose_onto({}, defaults, words, config_dir)
    for group in parts:
        if parts[group] is not None and group not in composed:
            raise ConfigError(f"no {group} is chosen: set {group}=<name>")
    return composed


def compose_onto(base: DictConfig, overrides: Sequence[str], *, config_dir: Path | None = None) -> DictConfig:
    """Returns ``base``, a composed configuration, changed by ``overrides``; a part that is named is replaced.

    Raises:
        ConfigError: an override is malformed, or names what does not exist.
    """
    folders = [ROOT, *([config_dir] if config_dir else [])]
    named = {one.key_or_group for one in parse(overrides) if one.key_or_group in base}
    groups = [
        str(key) for key in base if key in named and any((folder / str(key)).is_dir() for folder in folders)
    ]
    kept = {str(key): value for key, value in base.items() if key not in groups}
    if isinstance(agents := kept.get(AGENTS), DictConfig):
        kept[AGENTS] = _without_replaced(agents, overrides)
    return _compose_onto(kept, [{group: REQUIRED} for group in groups], overrides, config_dir)


def main(
    command: Callable[[DictConfig], object],
    errors: Callable[..., AbstractContextManager[None]],
    named: Mapping[str, str] | None = None,
) -> None:
    """Runs ``command`` on the configuration of the command line, with Hydra's own options (``--help``,
    ``--cfg``, ``--multirun``, ``--config-dir``).

    With ``--multirun`` a job that fails ends neither the sweep nor the other jobs: its error is printed, and
    the process ends with a summary and the highest exit code.

    Args:
        command: gets the composed configuration.
        errors: a context that turns user errors into a line and ``SystemExit``, such as ``one_line_errors``.
        named: group -> the part that the command's own name stands for: it takes the place of that in
            ``config.yaml``, and an experiment must not choose another one.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed, sweep = False, Sweep()

    def job(config: DictConfig) -> None:
        _check_named(config, named or {})
        for source in HydraConfig.get().runtime.config_sources:
            if source.schema == "file":
                nested.complete(config, Path(source.path))
        command(config)

    @hydra.main(version_base="1.3", config_path="pkg://conf", config_name=_primary(named or {}))
    def run(config: DictConfig) -> None:
        nonlocal composed
        composed = True
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            sweep.run(lambda: job(config), errors)
            return
        with errors():  # here too: Hydra prints a line of its own about an error that leaves this function
            job(config)

    with errors(), TemporaryDirectory() as folder:
        sys.argv = with_default(
            list(map(of_agent, sys.argv)), "hydra.sweep.dir", folder
        )  # where Hydra writes its multirun.yaml
        try:
            run()
        except INVALID as error:
            if composed:
                raise
            raise ConfigError(_mistake(error, sys.argv[1:])) from None
    sweep.finish()


def with_default(arguments: list[str], key: str, value: str) -> list[str]:
    """Returns ``arguments`` with ``key=value`` added unless they set ``key``.

    It goes beside the other settings, because Hydra accepts settings before or after its options, not both.
    """
    settings = [i for i, word in enumerate(arguments) if is_override(word) and not word.startswith("-")]
    if any(arguments[i].startswith(f"{key}=") for i in settings):
        return arguments
    place = settings[-1] + 1 if settings else len(arguments)
    return [*arguments[:place], f"{key}={value}", *arguments[place:]]


class Sweep:
    """The jobs of ``--multirun``, and those that failed."""

    def __init__(self) -> None:
        self._jobs = 0
        self._failed: list[str] = []
        self._code = 0

    def run(self, job: Callable[[], None], errors: Callable[..., AbstractContextManager[None]]) -> None:
        """Runs the next job. Only an interruption ends the sweep."""
        label = f"{self._jobs} ({' '.join(HydraConfig.get().overrides.task)})"
        self._jobs += 1
        try:
            with errors(before=f"job {label}: "):
                job()
        except SystemExit as ended:
            if ended.code in INTERRUPTED:
                raise
            self._fail(label, int(ended.code or 0))
        except Exception as error:
            traceback.print_exc()
            print(f"job {label}: error: {type(error).__name__}: {_one_line(error)}", file=sys.stderr)
            self._fail(label, 1)

    def finish(self) -> None:
        """Prints which jobs failed, and ends the process if there are any."""
        if self._failed:
            failed = f"{len(self._failed)} of {self._jobs} jobs failed"
            print(f"{failed}: {', '.join(self._failed)}", file=sys.stderr)
            sys.exit(self._code)

    def _fail(self, label: str, code: int) -> None:
        self._failed.append(label)
        self._code = max(self._code, code)


@contextmanager
def one_line_errors(*expected: type[Exception], before: str = "") -> Iterator[None]:
    """Ends the process with one line on stderr: with exit code 2 on a ``ConfigError``, an ``expected`` error
    or a full disk, and with 130 on SIGINT and 143 on SIGTERM.

    ``before`` begins the line. With ``COACHGYM_TRACEBACK=1`` in the environment the error is raised instead.
    """
    handled: tuple[type[Exception], ...] = (ConfigError, HydraException, OmegaConfBaseException, *expected)
    try:
        with stopping.terminable():
            yield
    except handled as error:
        end(error, before=f"{before}error")
    except KeyboardInterrupt as error:
        terminated = isinstance(error, stopping.Terminated)
        if any(stopping.command_line({}, module=f"{package}.") for package in COMMANDS):
            stopping.skip_finalization(INTERRUPTED[terminated])
        again = stopping.command_line({})
        end(
            error,
            before=before + ("terminated" if terminated else "interrupted"),
            default=f"the same command starts again{f': {again}' if again else ''}",
            code=INTERRUPTED[terminated],
        )
    except OSError as error:
        if error.errno not in FULL:
            raise
        end(error, before=f"{before}error")


def end(error: BaseException, *, before: str = "error", default: str = "", code: int = 2) -> None:
    """Prints ``error`` and its notes as one line and exits with ``code``; see ``one_line_errors``.

    ``default``: takes the place of notes where there are none.
    """
    if os.environ.get("COACHGYM_TRACEBACK") == "1":
        raise error
    notes = getattr(error, "__notes__", None) or ([default] if default else [])
    text = [f"{before}: {_one_line(error)}" if str(error) else before, *notes]
    print("; ".join(text), file=sys.stderr)
    sys.exit(code)


def _primary(named: Mapping[str, str]) -> str:
    """Returns the name of ``config.yaml``, or of a copy whose default parts are those ``named``."""
    if not named:
        return "config"
    primary: Any = OmegaConf.load(ROOT / "config.yaml")
    for entry in primary.defaults:
        for group in named.keys() & entry.keys() if isinstance(entry, DictConfig) else ():
            entry[group] = named[group]
    ConfigStore.instance().store(name=PRIMARY, node=primary)
    return PRIMARY


def _check_named(config: DictConfig, named: Mapping[str, str]) -> None:
    """Raises ``ConfigError`` if an experiment chose another part than the command's name says."""
    words = {word.partition("=")[0] for word in HydraConfig.get().overrides.task}
    for group, name in named.items():
        chosen = config[group].name
        if chosen != name and group not in words:
            command = f"python -m learners.{chosen}" if "." not in chosen else "python -m learners.train"
            raise ConfigError(
                f"learners.{name} trains with {group}={name}, but the experiment chooses {group}={chosen}: "
                f"use {command}, or add {group}={name}"
            )


def of_agent(word: str) -> str:
    """Returns a ``word`` of the command line about one agent as Hydra has it; any other one unchanged.

    >>> of_agent("team.analyst.model=toy")
    '+model@team.analyst.model=toy'
    >>> of_agent("team.analyst.model.max_new_tokens=64")
    '++team.analyst.model.max_new_tokens=64'
    """
    if group := _chosen_for_agent(word):
        return f"+{group}@{word}"
    return f"++{word}" if word.startswith(f"{AGENTS}.") and "=" in word else word


def _chosen_for_agent(word: str) -> str | None:
    """The group of ``team.<agent>.<group>=<name>``; None for any other word."""
    key, equals, value = word.partition("=")
    place = key.split(".")
    named = equals and place[0] == AGENTS and len(place) == 3 and not value.startswith("{")
    return place[2] if named and (ROOT / place[2]).is_dir() else None


def _without_replaced(agents: DictConfig, words: Sequence[str]) -> DictConfig:
    """``agents`` without the parts that ``words`` choose anew: two parts of a group must not be merged."""
    chosen = {word.partition("=")[0] for word in words if _chosen_for_agent(word)}
    return OmegaConf.create(
        {
            agent: {part: own[part] for part in own if f"{AGENTS}.{agent!s}.{part!s}" not in chosen}
            for agent, own in agents.items()
        }
    )


def _of_module(word: str, override: Override, modules: Mapping[str, str]) -> str:
    """An override of a part that has no YAML: there is nothing yet that it could change, so that it adds."""
    group, _, rest = override.key_or_group.partition(".")
    if group not in modules or override.is_delete():
        return word
    return f"++{word.lstrip('+')}" if rest else f"++{group}.name={modules[group]}"


def _compose_onto(
    base: Mapping[str, Any], defaults: Sequence[Any], overrides: Sequence[str], config_dir: Path | None
) -> DictConfig:
    """Composes with a primary configuration of our own making instead of ``config.yaml``."""
    primary = {"defaults": ["_self_", *defaults], **base}
    ConfigStore.instance().store(name=PRIMARY, node=OmegaConf.create(primary))
    return _compose(PRIMARY, overrides, config_dir)


def _compose(name: str, overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    words = list(map(of_agent, overrides))
    if config_dir is not None:
        if not config_dir.is_dir():
            raise ConfigError(f"--config-dir {config_dir} is not a folder")
        words.append(f"hydra.searchpath=[{stopping.quoted(f'file://{config_dir.resolve()}')}]")
    with _config_errors(overrides), hydra.initialize_config_module("conf", version_base="1.3"):
        config = hydra.compose(name, words)
    if config_dir is not None:
        nested.complete(config, config_dir)
    return config


@contextmanager
def _config_errors(words: Sequence[str]) -> Iterator[None]:
    """Raises what Hydra raises for malformed overrides as ``ConfigError``."""
    try:
        yield
    except INVALID as error:
        raise ConfigError(_mistake(error, words)) from None


def _mistake(error: Exception, words: Sequence[str]) -> str:
    known = isinstance(error, HydraException | OmegaConfBaseException)
    return _one_line(error) if known else f"invalid settings {' '.join(words)}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    """The message of ``error`` on one line, without Hydra's search path and OmegaConf's internals."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        where = re.match(f"(?!In '(?:config|{PRIMARY})')In '.+?': ", str(error))
        return (where[0] if where else "") + unknown(f"{group} called {name!r}", error.options, name=name)
    if isinstance(error, OverrideParseException) and not is_override(error.override):
        return f"{error.override!r} is not a setting: write <name>=<value>"
    if isinstance(missing := error.__cause__, ConfigKeyError | ConfigAttributeError):
        return unplaced(missing)
    if isinstance(error, OSError):
        return reason(error) + (f": {error.filename}" if error.filename else "")
    text = str(error).split("Config search path:")[0]
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text = f"{text}\n{error.__cause__}"
    text = re.sub(r":\s*\n\t", ": ", text).replace("\n\t", ", ")  # lists of what there is
    lines = [line.strip() for line in text.splitlines()]
    kept = dict.fromkeys(line for line in lines if line and not line.startswith(NOISE))
    return "; ".join(kept) or type(error).__name__
