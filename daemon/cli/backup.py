"""The registry configuration that was there before this program's.

It is moved to ``_backup``, once; ``spegel cleanup`` moves it back. While things are being moved they are in
``_backup.partial``: as long as that exists, all that is inside it and beside it is the user's, so that a run
that was killed is finished by the next one, and nothing is ever lost.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

BACKUP = "_backup"
_PARTIAL = "_backup.partial"

logger = logging.getLogger(__name__)


def back_up(root: Path) -> None:
    """Move everything to the backup, unless there is one."""
    if (root / BACKUP).is_dir():
        return
    partial = root / _PARTIAL
    partial.mkdir(mode=0o755, exist_ok=True)
    for entry in sorted(root.iterdir()):
        if entry != partial:
            entry.rename(partial / entry.name)
            logger.info("backed up %s", entry)
    partial.rename(root / BACKUP)


def restore(root: Path) -> bool:
    """Move everything back and remove the backup; False when there is none.

    Raises:
        OSError: the system refuses.
    """
    backup, partial = root / BACKUP, root / _PARTIAL
    if backup.is_dir():
        remove_others(root, set())
        backup.rename(partial)
    if not partial.is_dir():
        return False
    for entry in sorted(partial.iterdir()):
        entry.rename(root / entry.name)
        logger.info("put back %s", root / entry.name)
    partial.rmdir()
    return True


def original(root: Path, path: Path) -> Path:
    """Return where a file of the user's is now, before or after it was backed up."""
    if (root / BACKUP).is_dir():
        return root / BACKUP / path
    return root / path if (root / path).exists() else root / _PARTIAL / path


def remove_others(root: Path, wanted: set[Path]) -> None:
    """Remove all but the backup, files that are wanted and their directories."""
    needed = {parent for path in wanted for parent in path.parents}
    for entry in sorted(root.iterdir()):
        if entry.name != BACKUP:
            _remove(entry, wanted, needed)


def _remove(entry: Path, wanted: set[Path], needed: set[Path]) -> None:
    if entry in wanted:
        return
    if entry not in needed:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
        return
    for child in entry.iterdir():
        _remove(child, wanted, needed)
