"""The contract kit: proves that a storage adapter keeps what the ports promise."""
