"""SAMs of a centre: made from what a vendor delivers, proved, and opened by the stations and desks that use them."""
