"""Batch files in, checked applicants out."""
