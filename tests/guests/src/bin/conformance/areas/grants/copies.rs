//! Copies between frames and grants.

use pv_guest_shim::grant::{self, flags, offer, withdraw};
use pv_guest_shim::hypercall_abi::grant_table::{GntStatus, GnttabCopy, GnttabOp};
use pv_guest_shim::hypercall_abi::xen::DomId;
use pv_guest_shim::mmu;
use zerocopy::FromZeros;

use crate::pages;
use crate::report::{bits, number, same};

use super::{REF, SELF};

/// The checks.
pub fn run() {
    copies();
    refused_copies();
}

fn copy(source: (bool, u64, u16, u16), dest: (bool, u64, u16, u16), len: u16) -> GntStatus {
    let mut arg = GnttabCopy::new_zeroed();
    for (side, (by_ref, target, domain, offset)) in
        [(&mut arg.source, source), (&mut arg.dest, dest)]
    {
        if by_ref {
            side.u.set_ref(target as u32);
        } else {
            side.u.set_gmfn(target);
        }
        side.domid = DomId(domain);
        side.offset = offset;
    }
    arg.len = len;
    arg.flags = u16::from(source.0) | u16::from(dest.0) << 1;
    arg.status = GntStatus(77);
    number("copy", grant::op(GnttabOp::COPY, &mut arg), 0);
    arg.status
}

fn copies() {
    let [from, to] = core::array::from_fn(|_| pages::take());
    let (from_mfn, to_mfn) = (mmu::virt_to_mfn(from), mmu::virt_to_mfn(to));
    pages::write(from + 16, 0x1122_3344_5566_7788_u64);
    let own = |mfn, offset| (false, mfn, 0x7ff0, offset);
    same(
        "copy of frames",
        copy(own(from_mfn, 16), own(to_mfn, 3), 8),
        GntStatus::OKAY,
    );
    bits(
        "copy of frames: value",
        pages::read::<u64>(to) >> 24 | pages::read::<u64>(to + 8) << 40,
        0x1122_3344_5566_7788,
    );
    offer(REF, 1 | 4, SELF, from_mfn);
    offer(REF + 1, 1, SELF, to_mfn);
    same(
        "copy of references",
        copy(
            (true, REF.into(), 0, 16),
            (true, (REF + 1).into(), 0, 32),
            8,
        ),
        GntStatus::OKAY,
    );
    bits(
        "copy of references: value",
        pages::read::<u64>(to + 32),
        0x1122_3344_5566_7788,
    );
    same(
        "flags behind a copy",
        (flags(REF), flags(REF + 1)),
        (1 | 4, 1),
    );
    same(
        "copy of a whole page",
        copy(own(from_mfn, 0), (true, (REF + 1).into(), 0, 0), 4096),
        GntStatus::OKAY,
    );
    bits(
        "copy of a whole page: value",
        pages::read::<u64>(to + 16),
        0x1122_3344_5566_7788,
    );
    same(
        "copy of nothing",
        copy(own(from_mfn, 0), own(to_mfn, 0), 0),
        GntStatus::OKAY,
    );
    same(
        "copy to a read-only entry",
        copy(own(to_mfn, 0), (true, REF.into(), 0, 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    withdraw(REF);
    withdraw(REF + 1);
}

fn refused_copies() {
    let [from, to] = core::array::from_fn(|_| pages::take());
    let (from_mfn, to_mfn) = (mmu::virt_to_mfn(from), mmu::virt_to_mfn(to));
    let own = |mfn, offset| (false, mfn, 0x7ff0, offset);
    same(
        "copy over the end of the source",
        copy(own(from_mfn, 4090), own(to_mfn, 0), 8),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy over the end of the destination",
        copy(own(from_mfn, 0), own(to_mfn, 4090), 8),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy of 65535",
        copy(own(from_mfn, 0xffff), own(to_mfn, 0xffff), 0xffff),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy of a frame by the own number",
        copy((false, from_mfn, 0, 0), own(to_mfn, 0), 8),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy to a frame by the own number",
        copy(own(from_mfn, 0), (false, to_mfn, 0, 0), 8),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy of nobody's frame",
        copy((false, from_mfn, 77, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_DOMAIN,
    );
    same(
        "copy of no frame",
        copy(own(1 << 38, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_PAGE,
    );
    same(
        "copy to no frame",
        copy(own(from_mfn, 0), own(1 << 38, 0), 8),
        GntStatus::BAD_PAGE,
    );
    same(
        "copy to a table",
        copy(own(from_mfn, 0), own(mmu::boot_root(), 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "copy of a table",
        copy(own(mmu::boot_root(), 0), own(to_mfn, 0), 8),
        GntStatus::OKAY,
    );
    same(
        "copy of an empty entry",
        copy((true, 20, 0, 0), own(to_mfn, 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "copy of an entry behind the table",
        copy((true, 1 << 20, 0, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_GNTREF,
    );
    same(
        "copy of nobody's entry",
        copy((true, 20, 77, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_DOMAIN,
    );
}
