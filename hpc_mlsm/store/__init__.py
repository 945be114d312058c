"""The pattern store: HDF5 shards written once, and an index that alone says what is finished."""
