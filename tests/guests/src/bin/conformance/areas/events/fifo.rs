//! Delivery by queues: control block, event words, priorities, links, and the way back.

use core::sync::atomic::Ordering::Relaxed;

use pv_guest_shim::events::{bind_ipi, close, send, unmask};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::event_channel::{EvtchnInitControl, EvtchnOp};
use pv_guest_shim::hypercall_abi::xen::MmuextCmd;
use pv_guest_shim::{mmu, sched, shared};

use super::op;
use crate::call::{frame_op, update_va};
use crate::pages;
use crate::report::{bits, error, number, same};

const PENDING: u32 = 1 << 31;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;

/// The checks.
pub fn run() {
    let (control, array) = (pages::take(), pages::take());
    let page = pages::take();
    let before = bind_ipi(0);
    same("port before the queues", before, Ok(1));
    // Pending in the bitmaps, and carried over.
    shared::mask_word(1).0.store(0, Relaxed);
    same("send before the queues", send(1), Ok(()));
    shared::upcall_pending().store(0, Relaxed);
    refused(page, control);
    let init = |gfn, offset, vcpu| {
        pages::write(
            page,
            EvtchnInitControl {
                control_gfn: gfn,
                offset,
                vcpu,
                link_bits: 0,
                _pad: [0; 7],
            },
        );
        op(EvtchnOp::INIT_CONTROL, page)
    };
    number("init_control", init(mmu::virt_to_mfn(control), 64, 0), 0);
    bits("init_control: link bits", pages::read::<u8>(page + 16), 17);
    error(
        "init_control twice",
        init(mmu::virt_to_mfn(control), 64, 0),
        Errno::EINVAL,
    );
    error(
        "init_control elsewhere",
        init(mmu::virt_to_mfn(page), 0, 0),
        Errno::EINVAL,
    );
    let control = control + 64;
    bits("nothing is ready", pages::read::<u32>(control), 0);
    arrays(page, array);
    let word = |port: u32| pages::read::<u32>(array + u64::from(port) * 4);
    let set_word = |port: u32, value: u32| pages::write(array + u64::from(port) * 4, value);
    let ready = || pages::read::<u32>(control);
    let head = |priority: u64| pages::read::<u32>(control + 8 + priority * 4);
    let reset = || {
        pages::write(control, 0_u32);
        for priority in 0..16 {
            pages::write(control + 8 + priority * 4, 0_u32);
        }
        shared::upcall_pending().store(0, Relaxed);
    };
    bits(
        "event of the bitmaps is carried over",
        word(1),
        PENDING | LINKED,
    );
    same(
        "event of the bitmaps: ready, head, upcall",
        (ready(), head(7), shared::upcall_pending().load(Relaxed)),
        (1 << 7, 1, 1),
    );
    set_word(1, 0);
    reset();
    same("send", send(1), Ok(()));
    bits("event word", word(1), PENDING | LINKED);
    same(
        "ready, head, upcall",
        (ready(), head(7), shared::upcall_pending().load(Relaxed)),
        (1 << 7, 1, 1),
    );
    same("second port", bind_ipi(0), Ok(2));
    same("third port", bind_ipi(0), Ok(3));
    same("send to the second", send(2), Ok(()));
    bits(
        "first event is linked to the second",
        word(1),
        PENDING | LINKED | 2,
    );
    bits("second event word", word(2), PENDING | LINKED);
    same("head stays", head(7), 1);
    same("send to the first again", send(1), Ok(()));
    bits("first event stays", word(1), PENDING | LINKED | 2);
    set_word(1, 0);
    set_word(2, 0);
    reset();
    set_word(3, MASKED);
    same("send to a masked port", send(3), Ok(()));
    bits("masked event word", word(3), PENDING | MASKED);
    same(
        "masked: ready, upcall",
        (ready(), shared::upcall_pending().load(Relaxed)),
        (0, 0),
    );
    number("poll of a masked port", sched::poll(&[3], 0), 0);
    same("unmask", unmask(3), Ok(()));
    bits("unmasked event word", word(3), PENDING | LINKED);
    same(
        "unmasked: ready, head, upcall",
        (ready(), head(7), shared::upcall_pending().load(Relaxed)),
        (1 << 7, 3, 1),
    );
    set_word(3, 0);
    reset();
    let priority = |port: u32, priority: u64| {
        pages::write(page, u64::from(port) | priority << 32);
        op(EvtchnOp::SET_PRIORITY, page)
    };
    number("set_priority", priority(2, 0), 0);
    number("set_priority lowest", priority(3, 15), 0);
    error("set_priority 16", priority(3, 16), Errno::EINVAL);
    error(
        "set_priority of no port",
        priority(4096 * 64, 3),
        Errno::EINVAL,
    );
    same(
        "send to three",
        (send(1), send(2), send(3)),
        (Ok(()), Ok(()), Ok(())),
    );
    same(
        "three queues",
        (ready(), head(0), head(7), head(15)),
        (1 << 15 | 1 << 7 | 1, 2, 1, 3),
    );
    for port in 1..=3 {
        set_word(port, 0);
    }
    reset();
    // Links are the guest's to write, and lead nowhere that matters.
    same("send before a bad link", send(1), Ok(()));
    set_word(1, PENDING | LINKED | 0x1_ffff);
    same(
        "send behind a bad link",
        (send(1), bind_ipi(0).and_then(send)),
        (Ok(()), Ok(())),
    );
    set_word(1, 0);
    set_word(4, 0);
    reset();
    same("send before close", send(1), Ok(()));
    same(
        "close",
        (close(1), close(2), close(3), close(4)),
        (Ok(()), Ok(()), Ok(()), Ok(())),
    );
    bits("close clears pending", word(1) & PENDING, 0);
    pages::write(page, 0x7ff0_u16);
    number("reset", op(EvtchnOp::RESET, page), 0);
    // Back to bitmaps.
    pages::write(page, mmu::virt_to_mfn(array));
    error(
        "expand_array behind a reset",
        op(EvtchnOp::EXPAND_ARRAY, page),
        Errno::EOPNOTSUPP,
    );
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
    same("port behind a reset", bind_ipi(0), Ok(1));
    shared::mask_word(1).0.store(0, Relaxed);
    same("send behind a reset", send(1), Ok(()));
    bits(
        "bitmaps are in use",
        shared::pending_word(1).0.load(Relaxed),
        2,
    );
    same("close behind a reset", close(1), Ok(()));
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
    let leaf = mmu::leaf(array).unwrap_or_default().value;
    update_va(array, leaf & !mmu::WRITABLE, 2);
    let table = mmu::virt_to_mfn(array);
    number(
        "a reset gives the array back",
        frame_op(MmuextCmd::PIN_L1_TABLE, table),
        0,
    );
    number("unpin", frame_op(MmuextCmd::UNPIN_TABLE, table), 0);
    update_va(array, leaf, 2);
}

fn refused(page: u64, control: u64) {
    let mfn = mmu::virt_to_mfn(control);
    let cases = [
        ("vcpu 1", mfn, 0, 1, Errno::ENOENT),
        ("vcpu 9999", mfn, 0, 9999, Errno::ENOENT),
        ("offset 4", mfn, 4, 0, Errno::EINVAL),
        ("offset 4032", mfn, 4032, 0, Errno::EINVAL),
        ("offset 4096", mfn, 4096, 0, Errno::EINVAL),
        ("offset 0xfffffff8", mfn, 0xffff_fff8, 0, Errno::EINVAL),
        ("a frame that is none", 1 << 38, 0, 0, Errno::EINVAL),
        ("all ones as frame", u64::MAX, 0, 0, Errno::EINVAL),
        ("a table", mmu::boot_root(), 0, 0, Errno::EINVAL),
        ("device memory", 0xfee00, 0, 0, Errno::EINVAL),
    ];
    for (name, control_gfn, offset, vcpu, errno) in cases {
        pages::write(
            page,
            EvtchnInitControl {
                control_gfn,
                offset,
                vcpu,
                link_bits: 0,
                _pad: [0; 7],
            },
        );
        error(
            format_args!("init_control with {name}"),
            op(EvtchnOp::INIT_CONTROL, page),
            errno,
        );
    }
}

fn arrays(page: u64, array: u64) {
    let expand = |gfn: u64| {
        pages::write(page, gfn);
        op(EvtchnOp::EXPAND_ARRAY, page)
    };
    for (name, gfn) in [
        ("no frame", 1 << 38),
        ("all ones", u64::MAX),
        ("a table", mmu::boot_root()),
        ("device memory", 0xfee00),
    ] {
        error(
            format_args!("expand_array with {name}"),
            expand(gfn),
            Errno::EINVAL,
        );
    }
    number("expand_array", expand(mmu::virt_to_mfn(array)), 0);
    let spare = mmu::virt_to_mfn(pages::take());
    let wrong = (1..128).filter(|_| expand(spare) != 0).count();
    same("expand_array to 128 pages", wrong, 0);
    error(
        "expand_array behind 128 pages",
        expand(spare),
        Errno::ENOSPC,
    );
}
