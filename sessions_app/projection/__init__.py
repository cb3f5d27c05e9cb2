"""The ledger of the chain folded into tables. It can be run again from stored logs at any time."""
