"""Which rule refused a row of a delivery."""

from __future__ import annotations

from personalization.intake.applicant import RESIDENCE_COLUMNS, Severity
from personalization.intake.receipt import Receipt
from personalization.production.journal.batches import RejectedRow


def rejected_rows(receipt: Receipt) -> list[RejectedRow]:
    """Each refused row with the first rule that it, or its row of the second sheet, breaks."""
    own: dict[int, str] = {}
    of_residence: dict[int, str] = {}
    for finding in receipt.findings:
        if finding.severity is Severity.ERROR:
            rules = of_residence if finding.column in RESIDENCE_COLUMNS else own
            rules.setdefault(finding.row, finding.rule)
    rejected: list[RejectedRow] = []
    for row in receipt.rejected:
        if row.source is not None:
            broken = [
                of_residence[residence.number] for residence in row.residences if residence.number in of_residence
            ]
            rejected.append(RejectedRow(row.source.number, own.get(row.source.number) or broken[0]))
    return rejected
