//! `io/*.h`: wire formats between domains. The hypervisor does not know them; guests and tools do.

pub mod blkif;
pub mod console;
pub mod netif;
pub mod protocols;
pub mod ring;
pub mod xenbus;
pub mod xs_wire;
