"""Real and virtual readers through PC/SC; the only folder that imports pyscard.

Source: PC/SC Workgroup, Interoperability Specification parts 5 (functions) and 10 (feature requests).
"""

from reader_bridge.pcsc.connection import PcscConnection
from reader_bridge.pcsc.direct import PcscDirect
from reader_bridge.pcsc.features import Feature, Property
from reader_bridge.pcsc.monitor import PcscMonitor, ReaderChange, ReaderEvent
from reader_bridge.pcsc.readers import DualReader, PcscReader, find_dual, list_pcsc_readers

__all__ = [
    "DualReader",
    "Feature",
    "PcscConnection",
    "PcscDirect",
    "PcscMonitor",
    "PcscReader",
    "Property",
    "ReaderChange",
    "ReaderEvent",
    "find_dual",
    "list_pcsc_readers",
]
