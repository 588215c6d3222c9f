"""Receipts and work orders: signed documents with a page and a table beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from permitcard.products import permit_profile
from personalization.atomic_file import write_atomically
from personalization.folder_rights import make_folder
from personalization.keys.signed_document import sign_document, written
from personalization.production.acts import Role
from personalization.reports.papers import order_document, paper_table, receipt_document
from personalization.reports.signed_page import signed_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permitcard.job import Job
    from permitcard.translation import Translator


def write_receipt(job: Job, identifier: str, working_days: int, translate: Translator) -> Path:
    """Write the customer's receipt of a batch; returns the signed document."""
    job.operator.require(Role.PREPARE)
    rehearsal = not job.keys.production
    document = receipt_document(job.journal, identifier, rehearsal=rehearsal, working_days=working_days)
    return write_paper(job, f"{identifier}-receipt", document, translate)


def write_order(job: Job, identifier: str, working_days: int, translate: Translator) -> Path:
    """Write the work order of a batch; returns the signed document."""
    job.operator.require(Role.PREPARE)
    profile = permit_profile()
    document = order_document(
        job.journal,
        identifier,
        rehearsal=not job.keys.production,
        keys=job.key_values(),
        profile=f"{profile.name} {profile.version}",
        by=job.operator.name,
        working_days=working_days,
    )
    return write_paper(job, f"{identifier}-order", document, translate)


def write_paper(
    job: Job, name: str, document: Mapping[str, object], translate: Translator, table: bytes | None = None
) -> Path:
    """Sign a document and write it as JSON, page and CSV in the centre's folder of certificates.

    Args:
        job: the centre.
        name: of the files, without ending.
        document: what is signed.
        translate: words for the page.
        table: the CSV; names and values of the document when absent.
    """
    folder = job.centre.certificates
    make_folder(folder)
    path = folder / f"{name}.json"
    write_atomically(path, written(sign_document(document, job.keys)))
    page = signed_page(document, translate, language=translate.language.value)
    write_atomically(path.with_suffix(".html"), page.encode())
    write_atomically(path.with_suffix(".csv"), paper_table(document) if table is None else table)
    return path
