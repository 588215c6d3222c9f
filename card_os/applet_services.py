"""What applications use of files, store and registry; the part of the applet interface that is built on `applet_api`.

The file commands need `card_os.applet_api` themselves, so they cannot be handed on by it. Applications import from
these two modules and from the vocabulary, and from nothing else of the firmware.
"""

from __future__ import annotations

from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.storage.store import ObjectKind, StoredObject

__all__ = ["FILE_INSTRUCTIONS", "ApplicationLifeCycle", "ObjectKind", "StoredObject"]
