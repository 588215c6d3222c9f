"""Curves whose parameters come with a key, component by component, instead of a reference.

A key may bring its curve either way: F0 with a reference (table B-2), or B2 to B6, and B7 where the cofactor is told.
Only curves that have a reference are taken, and a key is kept with the reference: what a card multiplies with has to
be a curve that it knows.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.1.8 (table 11-16, B2 to B7); NIST SP 800-186, clause 3.2.1;
RFC 5639, clauses 3.4, 3.6 and 3.7.
Deviates: key information tells the reference, also of keys that brought all parameters.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.key_types import CURVES, KeyComponent, KeyType, point_of, private_key

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPLICIT: Final = (KeyType.EC_PRIME, KeyType.EC_A, KeyType.EC_B, KeyType.EC_GENERATOR, KeyType.EC_ORDER)
_COFACTOR: Final = b"\x01"


class DomainParameters(NamedTuple):
    """Parameters of a curve over a prime field, in hexadecimal; its generator is the point of the private key 1.

    Attributes:
        prime: p, of the field.
        a: coefficient of the equation.
        b: the other one.
        order: n, of the generator; the cofactor is 1.
    """

    prime: str
    a: str
    b: str
    order: str


DOMAIN_PARAMETERS: Final[Mapping[int, DomainParameters]] = MappingProxyType(
    {
        0x00: DomainParameters(  # P-256
            "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF",
            "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC",
            "5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B",
            "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551",
        ),
        0x01: DomainParameters(  # P-384
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFC",
            "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
        ),
        0x02: DomainParameters(  # P-521
            "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
            "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC",
            "0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1"
            "BF073573DF883D2C34F1EF451FD46B503F00",
            "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709"
            "A5D03BB5C9B8899C47AEBB6FB71E91386409",
        ),
        0x03: DomainParameters(  # brainpoolP256r1
            "A9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377",
            "7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9",
            "26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6",
            "A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7",
        ),
        0x05: DomainParameters(  # brainpoolP384r1
            "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B412B1DA197FB71123ACD3A729901D1A71874700133107EC53",
            "7BC382C63D8C150C3C72080ACE05AFA0C2BEA28E4FB22787139165EFBA91F90F8AA5814A503AD4EB04A8C7DD22CE2826",
            "04A8C7DD22CE28268B39B55416F0447C2FB77DE107DCD2A62E880EA53EEB62D57CB4390295DBC9943AB78696FA504C11",
            "8CB91E82A3386D280F5D6F7E50E641DF152F7109ED5456B31F166E6CAC0425A7CF3AB6AF6B7FC3103B883202E9046565",
        ),
        0x07: DomainParameters(  # brainpoolP512r1
            "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA703308717D4D9B009BC66842AECDA12AE6A380E6"
            "2881FF2F2D82C68528AA6056583A48F3",
            "7830A3318B603B89E2327145AC234CC594CBDD8D3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B5"
            "7F1117A72BF2C7B9E7C1AC4D77FC94CA",
            "3DF91610A83441CAEA9863BC2DED5D5AA8253AA10A2EF1C98B9AC8B57F1117A72BF2C7B9E7C1AC4D77FC94CADC083E67"
            "984050B75EBAE5DD2809BD638016F723",
            "AADD9DB8DBE9C48B3FD4E6AE33C9FC07CB308DB3B3C9D20ED6639CCA70330870553E5C414CA92619418661197FAC1047"
            "1DB1D381085DDADDB58796829CA90069",
        ),
    }
)
"""By key parameter reference (table B-2)."""


def with_reference(components: tuple[KeyComponent, ...]) -> tuple[KeyComponent, ...]:
    """The components of a key, the parameters of its curve replaced by their reference; others as they are.

    Raises:
        ValueError: parameters of no curve that has a reference.
    """
    key, *parameters = components
    if not parameters or parameters[0].key_type is not KeyType.EC_PRIME:
        return components
    if parameters[-1] == (KeyType.EC_COFACTOR, _COFACTOR):
        parameters.pop()
    for reference in DOMAIN_PARAMETERS:
        if parameters == list(explicit_parameters(reference)):
            return key, KeyComponent(KeyType.EC_PARAMETERS, bytes((reference,)))
    raise ValueError("no curve that has a reference")


def explicit_parameters(reference: int) -> tuple[KeyComponent, ...]:
    """All parameters of a curve but the cofactor, in the order of their types."""
    curve, known = CURVES[reference], DOMAIN_PARAMETERS[reference]
    generator = point_of(private_key(curve, (1).to_bytes(curve.length, "big")).public_key())
    values = (*map(bytes.fromhex, (known.prime, known.a, known.b)), generator, bytes.fromhex(known.order))
    return tuple(KeyComponent(kind, value) for kind, value in zip(_EXPLICIT, values, strict=True))
