"""Two operations at the same moment, in every order in which their reads and transactions can follow each other."""
