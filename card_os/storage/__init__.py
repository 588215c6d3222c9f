"""Objects and transactions on the non-volatile memory."""
