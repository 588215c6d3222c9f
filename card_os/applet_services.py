"""What applications use of files, store and registry; the part of the applet interface that is built on `applet_api`.

The file commands need `card_os.applet_api` themselves, so they cannot be handed on by it. Applications import from
these two modules and from the vocabulary, and from nothing else of the firmware.
"""

from __future__ import annotations

from card_os.files.card_information import EF_ATR, EF_DIR, card_information
from card_os.files.commands import (
    ALL_FILE_INSTRUCTIONS,
    FILE_INSTRUCTIONS,
    card_termination,
    file_management,
    file_termination,
)
from card_os.files.spec import AccessMode, FileSpec, FileStructure, decode_rules, encode_rules, read_attributes
from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.storage.store import ObjectKind, StoredObject

__all__ = [
    "ALL_FILE_INSTRUCTIONS",
    "EF_ATR",
    "EF_DIR",
    "FILE_INSTRUCTIONS",
    "AccessMode",
    "ApplicationLifeCycle",
    "FileSpec",
    "FileStructure",
    "ObjectKind",
    "StoredObject",
    "card_information",
    "card_termination",
    "decode_rules",
    "encode_rules",
    "file_management",
    "file_termination",
    "read_attributes",
]
