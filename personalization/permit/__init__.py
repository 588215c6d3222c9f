"""The permit's life: policy, casework, desk."""
