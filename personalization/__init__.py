"""From applicant to card: intake, keys, preparation, production, inspection, reports."""
