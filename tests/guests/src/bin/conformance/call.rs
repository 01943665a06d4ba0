//! Hypercalls and code with any arguments: the point of a conformance kernel is to pass what no kernel should.
// UNSAFETY: runs machine code and hypercalls that the checks choose.
#![expect(unsafe_code, reason = "arguments are the subject of the checks")]

use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuUpdate, MmuextOp, StartInfo};
use pv_guest_shim::traps::{self, Registers, Trap};
use pv_guest_shim::{hypercall, mmu};

/// An address inside the hypervisor's range.
pub const HYPERVISOR: u64 = 0xffff_8300_0000_0000;
/// An address that no page table translates.
pub const UNMAPPED: u64 = 0x0000_7000_0000_0000;
/// A non-canonical address.
pub const NON_CANONICAL: u64 = 0x0000_8000_0000_0000;
/// Pointers that name no memory of the guest.
pub const BAD_POINTERS: [(&str, u64); 5] = [
    ("null", 0),
    ("unmapped", UNMAPPED),
    ("hypervisor", HYPERVISOR),
    ("non-canonical", NON_CANONICAL),
    ("end", u64::MAX - 3),
];

/// A hypercall with up to five arguments.
pub fn call<const N: usize>(nr: HypercallNr, args: [u64; N]) -> i64 {
    let mut five = [0; 5];
    for (to, from) in five.iter_mut().zip(args) {
        *to = from;
    }
    // SAFETY: the checks point only at memory of their own, or at none.
    unsafe { hypercall::raw(nr, five) }
}

/// Runs code with registers. The trap that it caused, if any.
pub fn run(code: u64, registers: &mut Registers) -> Result<(), Trap> {
    // SAFETY: the checks' code keeps to registers and memory of the checks.
    unsafe { traps::attempt(code, registers) }
}

/// Goes to a context, which ends with a trap.
pub fn enter(context: &IretContext, registers: &mut Registers) -> Trap {
    // SAFETY: as for run.
    unsafe { traps::attempt_iret(context, registers) }
}

/// The trap of code that is run without arguments; `None` if there was none.
pub fn trap_of(code: u64) -> Option<Trap> {
    run(code, &mut Registers::default()).err()
}

/// `update_va_mapping` of a page of the checks.
pub fn update_va(address: u64, entry: u64, flags: u64) -> i64 {
    // SAFETY: the checks change mappings of their own pages only.
    unsafe { mmu::update_va_mapping(address, entry, flags) }
}

/// Writes an entry of the kernel's own frame table.
pub fn set_p2m(info: &StartInfo, pfn: u64, mfn: u64) {
    assert!(pfn < info.nr_pages);
    let entry = (info.mfn_list as *mut u64).wrapping_add(pfn as usize);
    // SAFETY: the builder mapped an entry for each PFN, and nobody else writes them.
    unsafe { entry.write_volatile(mfn) }
}

/// Moves vCPU 0's part of the shared page to a page of the checks.
pub fn move_vcpu_info(address: u64) -> i64 {
    // SAFETY: the page is not used for anything else, and stays mapped.
    unsafe { pv_guest_shim::shared::move_vcpu_info(address) }
}

/// `mmu_update` of entries of the checks.
pub fn mmu_update(updates: &[MmuUpdate], foreign: DomId) -> (i64, u32) {
    // SAFETY: as for update_va.
    unsafe { mmu::mmu_update(updates, foreign) }
}

/// `mmuext_op` on frames of the checks.
pub fn mmuext(operations: &[MmuextOp], foreign: DomId) -> (i64, u32) {
    // SAFETY: as for update_va.
    unsafe { mmu::mmuext_op(operations, foreign) }
}

/// One `mmuext_op` on a frame of this domain.
pub fn frame_op(cmd: pv_guest_shim::hypercall_abi::xen::MmuextCmd, mfn: u64) -> i64 {
    mmuext(&[mmu::frame_op(cmd, mfn, 0)], DomId::SELF).0
}

/// The address of a piece of code that ends with `ret`.
#[macro_export]
macro_rules! code {
    ($($line:literal),+ $(,)?) => {{
        #[unsafe(naked)]
        extern "C" fn code() {
            ::core::arch::naked_asm!($($line),+, "ret")
        }
        code as *const () as u64
    }};
}
