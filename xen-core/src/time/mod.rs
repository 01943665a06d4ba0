//! Time: what guests see of it, and deadlines.
//!
//! Contract: public headers xen.h (`vcpu_time_info`, wall clock) and vcpu.h (timers). System
//! time counts nanoseconds since boot and is the same for all domains.

mod domain_timers;
mod pvclock;
#[cfg(test)]
mod tests;
mod timer;
mod vcpu_timers;
pub mod wallclock;

pub use timer::{Event, TimerKey, TimerTask, Timers};
pub use wallclock::boot_time;
