//! `mmuext_op`: arguments, owners, pages that are cleared and copied, and commands that do not exist.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd};
use pv_guest_shim::mmu;

use super::{frame, set_writable};
use crate::call::{BAD_POINTERS, call, frame_op, mmuext};
use crate::pages;
use crate::report::{bits, error, number, same};

/// The checks.
pub fn run() {
    arguments();
    owners();
    clear_and_copy();
    others();
}

fn arguments() {
    let (list, done) = (pages::take(), pages::take());
    let op = |list: u64, count: u64, done: u64| {
        call(HypercallNr::MMUEXT_OP, [list, count, done, 0x7ff0])
    };
    pages::write(done, 0x55_u64);
    number("mmuext of nothing", op(list, 0, done), 0);
    bits("mmuext of nothing: done", pages::read::<u64>(done), 0);
    number("mmuext of nothing without done", op(0, 0, 0), 0);
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("mmuext at {kind} pointer"),
            op(pointer, 1, done),
            Errno::EFAULT,
        );
    }
    let flush = mmu::frame_op(MmuextCmd::TLB_FLUSH_LOCAL, 0, 0);
    let bad = mmu::frame_op(MmuextCmd(14), 0, 0);
    same(
        "mmuext done",
        mmuext(&[flush, flush, flush], DomId::SELF),
        (0, 3),
    );
    same(
        "mmuext failure in the middle",
        mmuext(&[flush, bad, flush], DomId::SELF),
        (-(Errno::ENOSYS as i64), 1),
    );
    same(
        "mmuext failure at once",
        mmuext(&[bad, flush], DomId::SELF),
        (-(Errno::ENOSYS as i64), 0),
    );
    same("mmuext of many", mmuext(&[flush; 50], DomId::SELF), (0, 50));
    pages::write(list, flush);
    number("mmuext without done", op(list, 1, 0), 0);
    number("mmuext count is 32 bits", op(list, 1 << 32, 0), 0);
    for cmd in [14, 21, 22, 63, 0xffff_ffff] {
        error(
            format_args!("mmuext command {cmd:#x}"),
            frame_op(MmuextCmd(cmd), 0),
            Errno::ENOSYS,
        );
    }
}

fn owners() {
    let flush = mmu::frame_op(MmuextCmd::TLB_FLUSH_LOCAL, 0, 0);
    let with = |domain: u16| mmuext(&[flush], DomId(domain)).0;
    number("mmuext of self", with(0x7ff0), 0);
    error("mmuext of the own number", with(0), Errno::ESRCH);
    error("mmuext of nobody", with(77), Errno::ESRCH);
    error("mmuext of copies", with(0x7ff3), Errno::ESRCH);
    error("mmuext of no domain", with(0x7ff4), Errno::ESRCH);
    error("mmuext of the idle domain", with(0x7fff), Errno::ESRCH);
    for cmd in [
        MmuextCmd::TLB_FLUSH_LOCAL,
        MmuextCmd::INVLPG_LOCAL,
        MmuextCmd::TLB_FLUSH_ALL,
        MmuextCmd::INVLPG_ALL,
        MmuextCmd::TLB_FLUSH_MULTI,
        MmuextCmd::INVLPG_MULTI,
        MmuextCmd::NEW_BASEPTR,
        MmuextCmd::NEW_USER_BASEPTR,
        MmuextCmd::FLUSH_CACHE,
        MmuextCmd::FLUSH_CACHE_GLOBAL,
        MmuextCmd::SET_LDT,
    ] {
        let result = mmuext(&[mmu::frame_op(cmd, 0, 0)], DomId::IO).0;
        error(
            format_args!("{cmd:?} of the device owner"),
            result,
            Errno::EPERM,
        );
        let result = mmuext(&[mmu::frame_op(cmd, 0, 0)], DomId::XEN).0;
        error(
            format_args!("{cmd:?} of the hypervisor"),
            result,
            Errno::EPERM,
        );
    }
    let page = pages::take();
    for cmd in [
        MmuextCmd::PIN_L1_TABLE,
        MmuextCmd::UNPIN_TABLE,
        MmuextCmd::CLEAR_PAGE,
        MmuextCmd::COPY_PAGE,
    ] {
        let result = mmuext(&[mmu::frame_op(cmd, frame(page), frame(page))], DomId::IO).0;
        error(
            format_args!("{cmd:?} with the device owner"),
            result,
            Errno::EINVAL,
        );
    }
}

fn clear_and_copy() {
    let [first, second] = core::array::from_fn(|_| pages::take());
    pages::write(first + 4088, 0x1234_u64);
    let op = |cmd, to, from| mmuext(&[mmu::frame_op(cmd, to, from)], DomId::SELF).0;
    number(
        "copy",
        op(MmuextCmd::COPY_PAGE, frame(second), frame(first)),
        0,
    );
    bits("copy: value", pages::read::<u64>(second + 4088), 0x1234);
    number("clear", op(MmuextCmd::CLEAR_PAGE, frame(second), 0), 0);
    bits("clear: value", pages::read::<u64>(second + 4088), 0);
    number(
        "copy of itself",
        op(MmuextCmd::COPY_PAGE, frame(first), frame(first)),
        0,
    );
    let root = mmu::boot_root();
    error(
        "clear of a table",
        op(MmuextCmd::CLEAR_PAGE, root, 0),
        Errno::EINVAL,
    );
    error(
        "copy to a table",
        op(MmuextCmd::COPY_PAGE, root, frame(first)),
        Errno::EINVAL,
    );
    number(
        "copy of a table",
        op(MmuextCmd::COPY_PAGE, frame(second), root),
        0,
    );
    for (name, mfn) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX),
        ("device memory", 0xb8),
        ("the interrupt controller", 0xfee00),
    ] {
        error(
            format_args!("clear of {name}"),
            op(MmuextCmd::CLEAR_PAGE, mfn, 0),
            Errno::EINVAL,
        );
        error(
            format_args!("copy to {name}"),
            op(MmuextCmd::COPY_PAGE, mfn, frame(first)),
            Errno::EINVAL,
        );
        error(
            format_args!("copy of {name}"),
            op(MmuextCmd::COPY_PAGE, frame(first), mfn),
            Errno::EINVAL,
        );
    }
    // A read-only mapping does not protect a page that is no table.
    set_writable(second, false);
    number(
        "clear of a page that is mapped read-only",
        op(MmuextCmd::CLEAR_PAGE, frame(second), 0),
        0,
    );
    set_writable(second, true);
}

fn others() {
    let op = |cmd| frame_op(cmd, 0);
    number("flush of the cache", op(MmuextCmd::FLUSH_CACHE), 0);
    number("flush of all caches", op(MmuextCmd::FLUSH_CACHE_GLOBAL), 0);
    error(
        "mark of a large page",
        op(MmuextCmd::MARK_SUPER),
        Errno::EOPNOTSUPP,
    );
    error(
        "unmark of a large page",
        op(MmuextCmd::UNMARK_SUPER),
        Errno::EOPNOTSUPP,
    );
}
