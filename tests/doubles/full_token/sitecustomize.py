"""A token that is full: CKR_DEVICE_MEMORY at the library's boundary, in every process that has this folder in its path.

SoftHSM says it only when the disk is full, which is another test's matter. The file that `TEST_TOKEN_FULL` names
says that there is no room; nothing is changed in a process that has no such variable.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

STORE = "personalization.keys.hsm.store"
NO_ROOM = os.environ.get("TEST_TOKEN_FULL")


class _Patching(importlib.abc.MetaPathFinder):
    """Finds the key store as ever, and puts the double before its signatures when it has been loaded."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name != STORE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def loaded(module: ModuleType) -> None:
            load(module)
            _fill(module)

        spec.loader.exec_module = loaded  # type: ignore[method-assign]  # the double
        return spec


def _fill(module: Any) -> None:
    compute = module.HsmKeyStore._mac

    def full(store: Any, key: Any, data: bytes, mechanism: Any) -> bytes:
        if NO_ROOM and Path(NO_ROOM).exists():
            key = _FullKey()
        return bytes(compute(store, key, data, mechanism))

    module.HsmKeyStore._mac = full


class _FullKey:
    def sign(self, data: bytes, **more: object) -> bytes:
        from pkcs11.exceptions import DeviceMemory

        raise DeviceMemory


sys.meta_path.insert(0, _Patching())
