//! A simulated machine for tests.
