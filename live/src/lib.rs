//! What the programs of a live system share.
