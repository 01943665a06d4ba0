//! TLB flushes by `mmuext_op`: any address is harmless, and a flush makes a changed entry count.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuextCmd};
use pv_guest_shim::mmu;

use super::{entry, leaf};
use crate::call::{HYPERVISOR, NON_CANONICAL, UNMAPPED, mmuext, update_va};
use crate::pages;
use crate::report::{bits, error, number};

/// The checks.
pub fn run() {
    let bitmap = pages::take();
    pages::write(bitmap, 1_u64);
    let op = |cmd, address, vcpus| mmuext(&[mmu::address_op(cmd, address, vcpus)], DomId::SELF).0;
    for address in [
        0,
        0xfff,
        HYPERVISOR,
        NON_CANONICAL,
        UNMAPPED,
        u64::MAX,
        0xffff_8000_0000_0000,
    ] {
        number(
            format_args!("INVLPG_LOCAL {address:#x}"),
            op(MmuextCmd::INVLPG_LOCAL, address, 0),
            0,
        );
        number(
            format_args!("INVLPG_ALL {address:#x}"),
            op(MmuextCmd::INVLPG_ALL, address, 0),
            0,
        );
        number(
            format_args!("INVLPG_MULTI {address:#x}"),
            op(MmuextCmd::INVLPG_MULTI, address, bitmap),
            0,
        );
    }
    for (name, pointer) in [
        ("null", 0),
        ("unmapped", UNMAPPED),
        ("hypervisor", HYPERVISOR),
        ("non-canonical", NON_CANONICAL),
    ] {
        error(
            format_args!("TLB_FLUSH_MULTI of {name} vcpus"),
            op(MmuextCmd::TLB_FLUSH_MULTI, 0, pointer),
            Errno::EINVAL,
        );
        error(
            format_args!("INVLPG_MULTI of {name} vcpus"),
            op(MmuextCmd::INVLPG_MULTI, 0, pointer),
            Errno::EINVAL,
        );
    }
    pages::write(bitmap, u64::MAX);
    number(
        "TLB_FLUSH_MULTI of vcpus that do not exist",
        op(MmuextCmd::TLB_FLUSH_MULTI, 0, bitmap),
        0,
    );
    pages::write(bitmap, 0_u64);
    number(
        "TLB_FLUSH_MULTI of no vcpus",
        op(MmuextCmd::TLB_FLUSH_MULTI, 0, bitmap),
        0,
    );
    pages::write(bitmap, 1_u64);
    let [first, second] = core::array::from_fn(|_| pages::take());
    pages::write(first, 1_u64);
    pages::write(second, 2_u64);
    let original = leaf(first).value;
    for cmd in [
        MmuextCmd::TLB_FLUSH_LOCAL,
        MmuextCmd::INVLPG_LOCAL,
        MmuextCmd::TLB_FLUSH_MULTI,
        MmuextCmd::INVLPG_MULTI,
        MmuextCmd::TLB_FLUSH_ALL,
        MmuextCmd::INVLPG_ALL,
    ] {
        bits("before the flush", pages::read::<u64>(first), 1);
        update_va(first, entry(second, mmu::KERNEL_RW), 0);
        number(format_args!("{cmd:?}"), op(cmd, first, bitmap), 0);
        bits(format_args!("after {cmd:?}"), pages::read::<u64>(first), 2);
        update_va(first, original, 0);
        number(format_args!("{cmd:?} back"), op(cmd, first, bitmap), 0);
    }
}
