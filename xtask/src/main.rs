//! Project tasks: build, run, test.
fn main() {}
