"""All 256 class bytes against a table that was read off ISO/IEC 7816-4:2020, 5.4.1, tables 2 and 3.

A cell is I(nterindustry) or P(roprietary, GP 2.3.1, 11.1.4), channel 0-9 and a-j for 10-19, "." last or only command
or "+" more of a chain follow, and secure messaging: n(one), p(roprietary), h(eader not authenticated), a (header
authenticated), i(nterindustry further). "----" is reserved or forbidden.
"""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CLASS_BYTES, ClassByte, SecureMessagingIndication

TABLE = """
00  I0.n I1.n I2.n I3.n I0.p I1.p I2.p I3.p I0.h I1.h I2.h I3.h I0.a I1.a I2.a I3.a
10  I0+n I1+n I2+n I3+n I0+p I1+p I2+p I3+p I0+h I1+h I2+h I3+h I0+a I1+a I2+a I3+a
20  ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ----
30  ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ----
40  I4.n I5.n I6.n I7.n I8.n I9.n Ia.n Ib.n Ic.n Id.n Ie.n If.n Ig.n Ih.n Ii.n Ij.n
50  I4+n I5+n I6+n I7+n I8+n I9+n Ia+n Ib+n Ic+n Id+n Ie+n If+n Ig+n Ih+n Ii+n Ij+n
60  I4.i I5.i I6.i I7.i I8.i I9.i Ia.i Ib.i Ic.i Id.i Ie.i If.i Ig.i Ih.i Ii.i Ij.i
70  I4+i I5+i I6+i I7+i I8+i I9+i Ia+i Ib+i Ic+i Id+i Ie+i If+i Ig+i Ih+i Ii+i Ij+i
80  P0.n P1.n P2.n P3.n P0.p P1.p P2.p P3.p P0.h P1.h P2.h P3.h P0.a P1.a P2.a P3.a
90  P0+n P1+n P2+n P3+n P0+p P1+p P2+p P3+p P0+h P1+h P2+h P3+h P0+a P1+a P2+a P3+a
A0  ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ----
B0  ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ---- ----
C0  P4.n P5.n P6.n P7.n P8.n P9.n Pa.n Pb.n Pc.n Pd.n Pe.n Pf.n Pg.n Ph.n Pi.n Pj.n
D0  P4+n P5+n P6+n P7+n P8+n P9+n Pa+n Pb+n Pc+n Pd+n Pe+n Pf+n Pg+n Ph+n Pi+n Pj+n
E0  P4.i P5.i P6.i P7.i P8.i P9.i Pa.i Pb.i Pc.i Pd.i Pe.i Pf.i Pg.i Ph.i Pi.i Pj.i
F0  P4+i P5+i P6+i P7+i P8+i P9+i Pa+i Pb+i Pc+i Pd+i Pe+i Pf+i Pg+i Ph+i Pi+i ----
"""
INDICATIONS = {
    "n": SecureMessagingIndication.NONE,
    "p": SecureMessagingIndication.PROPRIETARY,
    "h": SecureMessagingIndication.HEADER_NOT_AUTHENTICATED,
    "a": SecureMessagingIndication.HEADER_AUTHENTICATED,
    "i": SecureMessagingIndication.INTERINDUSTRY,
}
CELLS = [cell for line in TABLE.split("\n") for cell in line.split()[1:]]


def test_the_table_has_every_class_byte() -> None:
    assert len(CELLS) == 256
    assert CELLS.count("----") == 65


@pytest.mark.parametrize("cla", range(256))
def test_class_byte(cla: int) -> None:
    cell = CELLS[cla]
    if cell == "----":
        assert CLASS_BYTES[cla] is None
        return
    kind, channel, chained, indication = tuple(cell)
    assert CLASS_BYTES[cla] == ClassByte(kind == "I", int(channel, 36), chained == "+", INDICATIONS[indication])
