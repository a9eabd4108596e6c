"""The experiments of the project that are simulated; others have files of their own form beside them."""

from pathlib import Path


def _is_simulated(path: Path) -> bool:
    return "\n[world]\n" in path.read_text(encoding="utf-8")


SIMULATED = sorted(path for path in Path("lab/experiments").glob("*.toml") if _is_simulated(path))
