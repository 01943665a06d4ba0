//! Copies between the hypervisor and the guest address space that is loaded right now.

use crate::hvm::GuestView;

/// An access to guest memory that the guest's page tables do not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestFault {
    /// The address that could not be accessed.
    pub addr: u64,
    /// Whether the access was a write.
    pub write: bool,
    /// Whether a translation was present.
    pub present: bool,
}

/// Guest-virtual memory of the running vCPU, with the rights of the guest (pages that hardware would refuse to ring 3
/// fault). Range checks against the hypervisor's part of the address space are the caller's (`crate::guest`).
pub trait GuestMemory {
    /// Fills `buf` from guest address `addr`. On a fault the contents of `buf` are unspecified.
    ///
    /// # Errors
    /// The first address that faulted.
    fn copy_from_guest(&self, addr: u64, buf: &mut [u8]) -> Result<(), GuestFault>;

    /// Copies `buf` to guest address `addr`. On a fault a prefix may have been written.
    ///
    /// # Errors
    /// The first address that faulted.
    fn copy_to_guest(&self, addr: u64, buf: &[u8]) -> Result<(), GuestFault>;

    /// Says whose memory copies on this processor go to: that of a guest whose addresses the hardware translates, or, for
    /// `None`, whatever is loaded.
    fn set_guest_view(&self, view: Option<GuestView>);

    /// What [`GuestMemory::set_guest_view`] said last.
    fn guest_view(&self) -> Option<GuestView>;

    /// Reads one page-table entry-sized word through the loaded translation of `addr`, walking the tables rooted at
    /// the loaded root by software is not this function's business; see `crate::guest::walk`.
    ///
    /// # Errors
    /// The address faulted.
    fn read_guest_u64(&self, addr: u64) -> Result<u64, GuestFault> {
        let mut bytes = [0; 8];
        self.copy_from_guest(addr, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
