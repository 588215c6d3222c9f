"""What a centre gives back of a released batch: results, replaced cards, the bank's file, lists for police stations."""
