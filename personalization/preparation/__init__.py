"""Applicants in, sealed records of data groups out."""
