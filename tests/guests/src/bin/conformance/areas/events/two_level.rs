//! Delivery by bitmaps: pending and mask bits, the selector, the upcall, polling and blocking.

use core::sync::atomic::Ordering::Relaxed;

use pv_guest_shim::events::{
    alloc_unbound, bind_interdomain, bind_ipi, bind_virq, close, send, unmask,
};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, Virq};
use pv_guest_shim::traps::{self, Registers};
use pv_guest_shim::{hypercall, sched, shared, time};

use crate::call::{BAD_POINTERS, call, run as run_code};
use crate::report::{bits, error, holds, number, same};
use crate::{code, pages};

/// The checks.
pub fn run() {
    stop_tick();
    delivery();
    upcall();
    poll();
    block();
    watchdog();
}

/// The periodic timer is on from the start. It ticks for a vCPU that runs.
fn stop_tick() {
    let port = bind_virq(Virq::TIMER, 0).unwrap_or(0);
    let start = time::now();
    let (word, bit) = shared::pending_word(port);
    while word.load(Relaxed) & bit == 0 && time::now() - start < 500_000_000 {
        call(HypercallNr::XEN_VERSION, [0, 0]);
    }
    let waited = time::now() - start;
    holds("a tick comes within 200 ms", waited, waited < 200_000_000);
    number("stop the tick", call(HypercallNr::VCPU_OP, [7, 0, 0]), 0);
    clear();
    same("close the timer", close(port), Ok(()));
}

/// Forgets everything pending.
fn clear() {
    for word in 0..64 {
        shared::pending_word(word * 64).0.store(0, Relaxed);
    }
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
}

/// Pending bit, selector, upcall of a port.
fn seen(port: u32) -> (bool, u64, u8) {
    let (word, bit) = shared::pending_word(port);
    (
        word.load(Relaxed) & bit != 0,
        shared::pending_selector().load(Relaxed),
        shared::upcall_pending().load(Relaxed),
    )
}

fn mask(port: u32, masked: bool) {
    let (word, bit) = shared::mask_word(port);
    if masked {
        word.fetch_or(bit, Relaxed);
    } else {
        word.fetch_and(!bit, Relaxed);
    }
}

fn delivery() {
    clear();
    let port = bind_ipi(0).unwrap_or(0);
    mask(port, false);
    same("send ipi", send(port), Ok(()));
    same("ipi is pending", seen(port), (true, 1, 1));
    same("send ipi again", send(port), Ok(()));
    clear();
    mask(port, true);
    same("send masked ipi", send(port), Ok(()));
    same("masked ipi is pending alone", seen(port), (true, 0, 0));
    same("unmask", unmask(port), Ok(()));
    same("unmasked ipi comes", seen(port), (true, 1, 1));
    let (word, bit) = shared::mask_word(port);
    bits("mask bit is clear", word.load(Relaxed) & bit, 0);
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
    same("unmask of an unmasked port", unmask(port), Ok(()));
    same(
        "unmask of an unmasked port does nothing",
        seen(port),
        (true, 0, 0),
    );
    same("send while pending", send(port), Ok(()));
    same("send while pending does nothing", seen(port), (true, 0, 0));
    // The selector bit is set already: no upcall.
    clear();
    shared::pending_selector().store(1, Relaxed);
    same("send with the selector set", send(port), Ok(()));
    same(
        "send with the selector set: no upcall",
        seen(port),
        (true, 1, 0),
    );
    clear();
    mask(port, true);
    same("unmask of an idle port", unmask(port), Ok(()));
    same("unmask of an idle port: nothing", seen(port), (false, 0, 0));
    same("send before close", send(port), Ok(()));
    same("close", close(port), Ok(()));
    let (word, bit) = shared::pending_word(port);
    bits("close clears pending", word.load(Relaxed) & bit, 0);
    clear();
    let first = alloc_unbound(DomId::SELF).unwrap_or(0);
    mask(2, false);
    let second = bind_interdomain(DomId::SELF, first).unwrap_or(0);
    same(
        "binding makes the new end pending",
        seen(second),
        (true, 1, 1),
    );
    clear();
    mask(first, false);
    same("send to the other end", send(second), Ok(()));
    same("other end is pending", seen(first).0, true);
    same("own end is not pending", seen(second).0, false);
    clear();
    same("send back", send(first), Ok(()));
    same(
        "first end is pending",
        (seen(first).0, seen(second).0),
        (false, true),
    );
    clear();
    same(
        "close both",
        (close(first), close(second)),
        (Ok(()), Ok(())),
    );
    // A port in another word.
    let failed = (1..70).filter(|_| bind_ipi(0).is_err()).count();
    same("port 70", (failed, bind_ipi(0)), (0, Ok(70)));
    mask(70, false);
    same("send to port 70", send(70), Ok(()));
    same("port 70 is pending", seen(70), (true, 2, 1));
    for port in 1..=70 {
        let _ = close(port);
    }
    clear();
}

/// The upcall comes at the return of a hypercall as soon as it is unmasked, and masks further ones.
fn upcall() {
    let port = bind_ipi(0).unwrap_or(0);
    mask(port, false);
    let code = code!(
        "mov byte ptr [rcx], 0",
        "mov eax, 17",
        "xor edi, edi",
        "syscall",
        "nop"
    );
    let enable = || {
        let mut registers = Registers {
            rcx: shared::upcall_mask().as_ptr() as u64,
            ..Registers::default()
        };
        let outcome = run_code(code, &mut registers);
        shared::upcall_mask().store(1, Relaxed);
        outcome
    };
    same("hypercall without an event", enable().is_ok(), true);
    same("send before the upcall", send(port), Ok(()));
    let trap = enable().err().unwrap_or_default();
    bits("upcall: vector", trap.frame.vector, traps::EVENT);
    bits("upcall: rip", trap.frame.rip, code + 12);
    bits("upcall: rax", trap.frame.rax, 0x0004_0011);
    bits("upcall: cs", trap.frame.cs, 0xe030);
    bits("upcall: IF in the frame", trap.frame.rflags & 0x200, 0x200);
    same("upcall: mask in the handler", trap.handler_mask, 1);
    same("upcall: pending stays", seen(port), (true, 1, 1));
    shared::upcall_pending().store(0, Relaxed);
    same("no upcall without its byte", enable().is_ok(), true);
    shared::upcall_pending().store(0x80, Relaxed);
    let trap = enable().err().unwrap_or_default();
    bits(
        "upcall by any non-zero byte",
        trap.frame.vector,
        traps::EVENT,
    );
    clear();
    same("close after the upcall", close(port), Ok(()));
}

fn poll() {
    let port = bind_ipi(0).unwrap_or(0);
    mask(port, true);
    clear();
    same("send before poll", send(port), Ok(()));
    number("poll of a pending, masked port", sched::poll(&[port], 0), 0);
    clear();
    let start = time::now();
    number(
        "poll with a timeout",
        sched::poll(&[port], start + 20_000_000),
        0,
    );
    let waited = time::now() - start;
    holds(
        "poll waits",
        waited,
        (20_000_000..2_000_000_000).contains(&waited),
    );
    number(
        "poll with a timeout in the past",
        sched::poll(&[port], 1),
        0,
    );
    number(
        "poll of nothing with a timeout",
        sched::poll(&[], time::now() + 5_000_000),
        0,
    );
    error(
        "poll of 129 ports",
        sched::poll(&[port; 129], 1),
        Errno::EINVAL,
    );
    number("poll of 128 ports", sched::poll(&[port; 128], 1), 0);
    error("poll of port 4096", sched::poll(&[4096], 1), Errno::EINVAL);
    error(
        "poll of port 0xffffffff",
        sched::poll(&[port, u32::MAX], 1),
        Errno::EINVAL,
    );
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("poll at {kind} pointer"),
            call(HypercallNr::SCHED_OP, [3, pointer]),
            Errno::EFAULT,
        );
        let page = pages::take();
        pages::write(page, pointer);
        pages::write(page + 8, 1_u64);
        pages::write(page + 16, 1_u64);
        error(
            format_args!("poll of ports at {kind} pointer"),
            call(HypercallNr::SCHED_OP, [3, page]),
            Errno::EFAULT,
        );
    }
    // The timer wakes the poll that waits for it, though it is masked.
    let timer = bind_virq(Virq::TIMER, 0).unwrap_or(0);
    mask(timer, true);
    number(
        "arm the timer",
        time::set_timer(time::now() + 10_000_000, 0),
        0,
    );
    let start = time::now();
    number(
        "poll of the timer",
        sched::poll(&[port, timer], start + 2_000_000_000),
        0,
    );
    let waited = time::now() - start;
    holds(
        "timer ends the poll",
        waited,
        (5_000_000..1_500_000_000).contains(&waited),
    );
    same("timer is pending", seen(timer).0, true);
    clear();
    same(
        "close timer and ipi",
        (close(timer), close(port)),
        (Ok(()), Ok(())),
    );
    number("yield", call(HypercallNr::SCHED_OP, [0, 0]), 0);
    for command in [8, 9, 0xffff_ffff] {
        error(
            format_args!("sched_op {command:#x}"),
            call(HypercallNr::SCHED_OP, [command, 0]),
            Errno::ENOSYS,
        );
    }
}

/// `block` unmasks and returns when something is pending; the upcall comes at its end.
fn block() {
    let timer = bind_virq(Virq::TIMER, 0).unwrap_or(0);
    mask(timer, false);
    let mut registers = Registers {
        rax: HypercallNr::SCHED_OP.0,
        rdi: 1,
        ..Registers::default()
    };
    let start = time::now();
    number(
        "arm the timer for a block",
        time::set_timer(start + 10_000_000, 0),
        0,
    );
    let trap = run_code(code!("syscall", "nop"), &mut registers)
        .err()
        .unwrap_or_default();
    let waited = time::now() - start;
    shared::upcall_mask().store(1, Relaxed);
    bits(
        "block ends with the upcall",
        trap.frame.vector,
        traps::EVENT,
    );
    bits("block: result", trap.frame.rax, 0);
    same("block: saved mask", trap.frame.saved_mask(), 0);
    holds("block waits", waited, waited >= 10_000_000);
    same("block: timer is pending", seen(timer).0, true);
    // With an event pending it returns at once.
    let trap = run_code(code!("syscall", "nop"), &mut registers)
        .err()
        .unwrap_or_default();
    shared::upcall_mask().store(1, Relaxed);
    bits(
        "block with an event pending",
        trap.frame.vector,
        traps::EVENT,
    );
    clear();
    same("close the timer behind a block", close(timer), Ok(()));
}

fn watchdog() {
    let page = pages::take();
    let watchdog = |id: u64, seconds: u64| {
        pages::write(page, id | seconds << 32);
        call(HypercallNr::SCHED_OP, [6, page])
    };
    number("first watchdog", watchdog(0, 100), 1);
    number("second watchdog", watchdog(0, 100), 2);
    // The error is 32 bits wide here.
    number("third watchdog", watchdog(0, 100), 0xffff_ffe4);
    number("watchdog is set again", watchdog(1, 200), 0);
    number("watchdog is stopped", watchdog(1, 0), 0);
    error("stopped watchdog", watchdog(1, 10), Errno::EINVAL);
    error("watchdog 3", watchdog(3, 10), Errno::EINVAL);
    number("second watchdog is stopped", watchdog(2, 0), 0);
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("watchdog at {kind} pointer"),
            call(HypercallNr::SCHED_OP, [6, pointer]),
            Errno::EFAULT,
        );
    }
    let past = hypercall::set_timer_op(1);
    number("set_timer_op in the past", past, 0);
    number("set_timer_op off", hypercall::set_timer_op(0), 0);
}
