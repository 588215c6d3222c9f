"""A file system after ISO/IEC 7816-4 as an application: MF, EF.DIR, EF.ATR/INFO and what is created in it."""
