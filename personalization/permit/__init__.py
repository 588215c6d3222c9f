"""The permit's life: dated policies, eligibility, endorsement, recognition and points."""
