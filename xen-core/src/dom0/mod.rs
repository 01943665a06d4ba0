//! Building the first domain.
