//! A second domain that the first one builds: its pages mapped, its tables pinned, its grants and ports used, its end.

mod domain;
mod events;
mod grants;
mod mappings;
mod memory;
mod remote;
mod resources;
pub mod running;

use pv_guest_shim::hypercall_abi::domctl::DomctlCmd;
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuUpdate, MmuextCmd, StartInfo};
use pv_guest_shim::mmu;

use crate::call::{mmu_update, mmuext};
use crate::pages;
use crate::report::{bits, error, number, same};
use domain::{Domain, domctl};

/// The area.
pub fn run(_: &'static StartInfo) {
    let domain = Domain::new();
    mappings::without_vcpu(&domain);
    domain.give_vcpu();
    mappings::run(&domain);
    memory::run(&domain);
    resources::run(&domain);
    grants::run(&domain);
    events::run(&domain);
    end(&domain);
}

/// Maps a frame of `owner` at an address of the checks, by the machine address of the entry.
fn map(window: u64, frame: u64, flags: u64, owner: DomId) -> (i64, u32) {
    let ptr = mmu::leaf(window).unwrap_or_default().machine_address;
    let val = if flags == 0 { 0 } else { frame << 12 | flags };
    let result = mmu_update(&[MmuUpdate { ptr, val }], owner);
    mmuext(
        &[mmu::address_op(MmuextCmd::INVLPG_LOCAL, window, 0)],
        DomId::SELF,
    );
    result
}

const fn failed(errno: Errno) -> (i64, u32) {
    (-(errno as i64), 0)
}

/// A domain that is destroyed keeps the pages that others have mapped, and goes with the last of them.
fn end(domain: &Domain) {
    let window = pages::take();
    let frame = domain.frames[5];
    same(
        "map before the end",
        map(window, frame, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    pages::write(window, 0x5a5a_u64);
    number("destroydomain", domain.destroy(), 0);
    same("a mapped page keeps the domain", domain.exists(), true);
    number("pages that are kept", domain.total_pages() as i64, 1);
    bits(
        "a kept page can be read",
        pages::read::<u64>(window),
        0x5a5a,
    );
    let other = pages::take();
    same(
        "a kept page can be mapped again",
        map(other, frame, mmu::KERNEL_RO, domain.id),
        (0, 1),
    );
    same("and let go", map(other, 0, 0, DomId::SELF), (0, 1));
    same(
        "a page that is gone cannot be mapped",
        map(other, domain.frames[6], mmu::KERNEL_RO, domain.id),
        failed(Errno::EBUSY),
    );

    number("destroydomain again", domain.destroy(), 0);
    same(
        "the last mapping goes",
        map(window, 0, 0, DomId::SELF),
        (0, 1),
    );
    for _ in 0..100 {
        pv_guest_shim::sched::yield_now();
        if !domain.exists() {
            break;
        }
    }
    same("the domain goes with it", domain.exists(), false);
    error(
        "domctl on what is gone",
        domctl(DomctlCmd::DESTROYDOMAIN, domain.id, |_| {}).0,
        Errno::ESRCH,
    );
    same(
        "a mapping of what is gone",
        map(window, frame, mmu::KERNEL_RO, domain.id),
        failed(Errno::ESRCH),
    );
}
