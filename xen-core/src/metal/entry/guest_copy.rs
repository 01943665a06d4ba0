//! Copies to and from the guest address space that is loaded.
// UNSAFETY: passes raw addresses to the copying code.

use xen_core::entry::vector;
use xen_core::machine::GuestFault;

use crate::metal::cpu::control;
use crate::metal::mem::layout::{HYPERVISOR_END, HYPERVISOR_START};

/// What the copying code returns.
#[repr(C)]
struct Copied {
    left: u64,
    fault: u64,
}

unsafe extern "C" {
    fn guest_copy(to: u64, from: u64, len: u64) -> Copied;
}

/// Error code bit: the page was present.
const PF_PRESENT: u64 = 1;

/// True if no byte of the range belongs to the hypervisor, and the range does not wrap.
fn is_guest_range(addr: u64, len: u64) -> bool {
    addr.checked_add(len)
        .is_some_and(|end| end <= HYPERVISOR_START || addr >= HYPERVISOR_END)
}

fn outcome(copied: &Copied, addr: u64, len: u64, write: bool) -> Result<(), GuestFault> {
    if copied.left == 0 {
        return Ok(());
    }
    let vector = (copied.fault >> 32) as u8;
    // #GP on a non-canonical address has no CR2: the first byte that was not copied is the one.
    let place = if vector == vector::PF {
        control::cr2()
    } else {
        addr + (len - copied.left)
    };
    Err(GuestFault {
        addr: place,
        write,
        present: vector == vector::PF && copied.fault & PF_PRESENT != 0,
    })
}

/// Fills `buf` from the guest address `addr`.
pub fn from_guest(addr: u64, buf: &mut [u8]) -> Result<(), GuestFault> {
    let len = buf.len() as u64;
    if !is_guest_range(addr, len) {
        return Err(GuestFault {
            addr,
            write: false,
            present: false,
        });
    }
    // SAFETY: the destination is exclusively ours; the source is none of the hypervisor's memory, so whatever is there
    // is guest memory or faults, and faults are recovered.
    let copied = unsafe { guest_copy(buf.as_mut_ptr() as u64, addr, len) };
    outcome(&copied, addr, len, false)
}

/// Writes `buf` to the guest address `addr`.
pub fn to_guest(addr: u64, buf: &[u8]) -> Result<(), GuestFault> {
    let len = buf.len() as u64;
    if !is_guest_range(addr, len) {
        return Err(GuestFault {
            addr,
            write: true,
            present: false,
        });
    }
    // SAFETY: the destination is none of the hypervisor's memory, so no Rust object is written; faults are recovered.
    let copied = unsafe { guest_copy(addr, buf.as_ptr() as u64, len) };
    outcome(&copied, addr, len, true)
}
