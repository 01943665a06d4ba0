//! Who runs next.
/// The scheduler.
#[derive(Debug)]
pub struct Scheduler;
