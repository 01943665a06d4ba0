//! Time as guests see it, and deadlines.
/// Deadlines of every processor.
#[derive(Debug)]
pub struct Timers;
