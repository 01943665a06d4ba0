//! Locks with a written order.
//!
//! Interrupts are off whenever the hypervisor runs, so no lock is ever taken by an interrupt handler that interrupted
//! its holder, and there are no irq-save locks. What remains is the order, [`Rank`]: a lock may be taken only while
//! every lock held has a lower rank. On a host (tests, simulation) the order is checked at run time.

mod by_domain;
mod rank;
mod ranked;
mod stats;

pub use by_domain::ByDomain;
pub use rank::Rank;
pub use ranked::{RankedGuard, RankedMutex};
pub use stats::{LockUse, lock_use, reset_lock_use};
