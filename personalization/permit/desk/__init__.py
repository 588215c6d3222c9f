"""The desk: what is done to a permit after it was issued, on the card and in its dossier."""
