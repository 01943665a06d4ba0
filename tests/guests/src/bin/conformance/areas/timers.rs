//! Time and vCPU state: the clock, timers, runstate, `vcpu_op` and its refusals.

use core::sync::atomic::Ordering::Relaxed;

use pv_guest_shim::events::{bind_virq, close};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::vcpu::{Runstate, VcpuRunstateInfo};
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo, VcpuTimeInfo, Virq};
use pv_guest_shim::{mmu, sched, shared, time};

use crate::call::{BAD_POINTERS, HYPERVISOR, UNMAPPED, call, update_va};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// The area.
pub fn run(_: &'static StartInfo) {
    clock();
    refused();
    timers();
    runstate();
    time_area();
    others();
}

fn vcpu_op(op: u64, vcpu: u64, argument: u64) -> i64 {
    call(HypercallNr::VCPU_OP, [op, vcpu, argument])
}

fn clock() {
    let mut last = time::now();
    let mut backwards = 0;
    for _ in 0..10_000 {
        let now = time::now();
        if now < last {
            backwards += 1;
        }
        last = now;
    }
    number("time does not go backwards", backwards, 0);
    let info = shared::time_info();
    bits("version is even", info.version & 1, 0);
    holds(
        "system time is set",
        info.system_time,
        info.system_time != 0,
    );
    holds(
        "timestamp is in the past",
        info.tsc_timestamp,
        info.tsc_timestamp <= time::tsc(),
    );
    let page = shared::snapshot();
    holds(
        "wall clock is behind 2020",
        page.wc_sec,
        page.wc_sec > 1_577_836_800 || page.wc_sec_hi != 0,
    );
    holds(
        "wall clock: nanoseconds",
        page.wc_nsec,
        page.wc_nsec < 1_000_000_000,
    );
}

fn refused() {
    let page = pages::take();
    for op in (0..14).filter(|op| *op != 2) {
        error(
            format_args!("vcpu_op {op} of vcpu 1"),
            vcpu_op(op, 1, page),
            Errno::ENOENT,
        );
        error(
            format_args!("vcpu_op {op} of vcpu 9999"),
            vcpu_op(op, 9999, page),
            Errno::ENOENT,
        );
        error(
            format_args!("vcpu_op {op} of vcpu 0xffffffff"),
            vcpu_op(op, 0xffff_ffff, page),
            Errno::ENOENT,
        );
    }
    for op in [14, 15, 255, 0xffff_ffff] {
        error(
            format_args!("vcpu_op {op:#x}"),
            vcpu_op(op, 0, page),
            Errno::ENOSYS,
        );
    }
    for op in [4, 5, 6, 8, 10, 13] {
        for (kind, pointer) in BAD_POINTERS {
            if op == 13 && kind == "null" {
                continue;
            }
            error(
                format_args!("vcpu_op {op} at {kind} pointer"),
                vcpu_op(op, 0, pointer),
                Errno::EFAULT,
            );
        }
    }
    number("is_up", vcpu_op(3, 0, 0), 1);
    number("vcpu is 32 bits", vcpu_op(3, 1 << 32, 0), 1);
    number("up of a vcpu that is up", vcpu_op(1, 0, 0), 0);
    for pointer in [0, UNMAPPED] {
        error(
            "initialise without a context",
            vcpu_op(0, 0, pointer),
            Errno::EFAULT,
        );
    }
    // The first domain knows where it runs if it can run on one processor only.
    let physid = vcpu_op(12, 0, page);
    holds(
        "get_physid",
        physid,
        physid == 0 || physid == -(Errno::EINVAL as i64),
    );
}

fn timers() {
    let page = pages::take();
    let port = bind_virq(Virq::TIMER, 0).unwrap_or(0);
    let pending = || {
        let (word, bit) = shared::pending_word(port);
        word.fetch_and(!bit, Relaxed) & bit != 0
    };
    let until = |limit| {
        let start = time::now();
        let result = sched::poll(&[port], start + limit);
        (result, time::now() - start)
    };
    number("stop the tick", vcpu_op(7, 0, 0), 0);
    number("stop the tick twice", vcpu_op(7, 0, 0), 0);
    pending();
    number("timer in the past", time::set_timer(1, 0), 0);
    same(
        "timer in the past fires",
        until(1_000_000_000).1 < 900_000_000 && pending(),
        true,
    );
    number("timer at 0", time::set_timer(0, 0), 0);
    same(
        "timer at 0 fires",
        until(1_000_000_000).1 < 900_000_000 && pending(),
        true,
    );
    let deadline = time::now() + 20_000_000;
    number("timer in 20 ms", time::set_timer(deadline, 0), 0);
    same("timer is not early", pending(), false);
    until(2_000_000_000);
    holds(
        "timer fires at its time",
        time::now(),
        time::now() >= deadline && pending(),
    );
    number(
        "timer that must be in the future",
        time::set_timer(time::now() + 10_000_000, 1),
        0,
    );
    same(
        "timer that must be in the future fires",
        until(2_000_000_000).1 < 1_900_000_000 && pending(),
        true,
    );
    number(
        "timer in the past that must be in the future",
        time::set_timer(1, 1),
        0,
    );
    until(20_000_000);
    pending();
    number(
        "timer with unknown flags",
        time::set_timer(time::now() + 50_000_000, 0xffff_fffe),
        0,
    );
    number("stop the timer", vcpu_op(9, 0, 0), 0);
    number("stop the timer twice", vcpu_op(9, 0, 0), 0);
    until(100_000_000);
    same("stopped timer does not fire", pending(), false);
    number(
        "timer before the beginning",
        time::set_timer(u64::MAX, 0),
        0,
    );
    same(
        "timer before the beginning fires",
        until(1_000_000_000).1 < 900_000_000 && pending(),
        true,
    );
    number("timer far away", time::set_timer(1 << 62, 0), 0);
    until(10_000_000);
    same("timer far away does not fire", pending(), false);
    number(
        "timer is replaced",
        time::set_timer(time::now() + 10_000_000, 0),
        0,
    );
    same(
        "timer is replaced: fires",
        until(2_000_000_000).1 < 1_900_000_000 && pending(),
        true,
    );
    pages::write(page, 0_u64);
    let period = |ns: u64| {
        pages::write(page, ns);
        vcpu_op(6, 0, page)
    };
    error("period of 0", period(0), Errno::EINVAL);
    error("period of 999999", period(999_999), Errno::EINVAL);
    error("period of 2^63", period(1 << 63), Errno::EINVAL);
    number("period of 5 ms", period(5_000_000), 0);
    let start = time::now();
    let ticks = (0..4)
        .filter(|_| {
            let begin = time::now();
            while time::now() - begin < 500_000_000 {
                call(HypercallNr::XEN_VERSION, [0, 0]);
                if pending() {
                    return true;
                }
            }
            false
        })
        .count();
    let waited = time::now() - start;
    same("periodic timer fires", ticks, 4);
    holds("periodic timer has its period", waited, waited > 10_000_000);
    number("stop the periodic timer", vcpu_op(7, 0, 0), 0);
    until(20_000_000);
    pending();
    until(50_000_000);
    same("stopped periodic timer does not fire", pending(), false);
    number(
        "set_timer_op",
        call(HypercallNr::SET_TIMER_OP, [time::now() + 10_000_000]),
        0,
    );
    same(
        "set_timer_op fires",
        until(2_000_000_000).1 < 1_900_000_000 && pending(),
        true,
    );
    number(
        "set_timer_op to be stopped",
        call(HypercallNr::SET_TIMER_OP, [time::now() + 50_000_000]),
        0,
    );
    number("set_timer_op 0", call(HypercallNr::SET_TIMER_OP, [0]), 0);
    until(100_000_000);
    same("stopped set_timer_op does not fire", pending(), false);
    number(
        "set_timer_op in the past",
        call(HypercallNr::SET_TIMER_OP, [1]),
        0,
    );
    same(
        "set_timer_op in the past fires",
        until(1_000_000_000).1 < 900_000_000 && pending(),
        true,
    );
    same("close the timer", close(port), Ok(()));
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
}

fn runstate() {
    let page = pages::take();
    number("get_runstate_info", vcpu_op(4, 0, page), 0);
    let before: VcpuRunstateInfo = pages::read(page);
    same("runstate is running", before.state, Runstate::RUNNING);
    holds(
        "runstate: entry time",
        before.state_entry_time,
        before.state_entry_time <= time::now() + 1_000_000,
    );
    let start = time::now();
    sched::poll(&[], start + 20_000_000);
    vcpu_op(4, 0, page);
    let after: VcpuRunstateInfo = pages::read(page);
    let blocked = after.time[2] - before.time[2];
    holds("runstate counts blocked time", blocked, blocked > 5_000_000);
    holds(
        "runstate counts running time",
        after.time[0],
        after.time[0] >= before.time[0],
    );
    let area = pages::take();
    let register = |address: u64| {
        pages::write(page, address);
        vcpu_op(5, 0, page)
    };
    number("register the runstate area", register(area), 0);
    let now: VcpuRunstateInfo = pages::read(area);
    same(
        "runstate area is written at once",
        now.state,
        Runstate::RUNNING,
    );
    sched::poll(&[], time::now() + 5_000_000);
    let later: VcpuRunstateInfo = pages::read(area);
    holds(
        "runstate area is written at a switch",
        later,
        later.time[2] > now.time[2] && later.state == Runstate::RUNNING,
    );
    bits(
        "runstate area is not marked",
        later.state_entry_time >> 63,
        0,
    );
    number("mark the writes", call(HypercallNr::VM_ASSIST, [0, 5]), 0);
    sched::poll(&[], time::now() + 5_000_000);
    let marked: VcpuRunstateInfo = pages::read(area);
    bits(
        "mark is off behind a write",
        marked.state_entry_time >> 63,
        0,
    );
    holds(
        "runstate area is written with marks",
        marked,
        marked.time[2] > later.time[2],
    );
    call(HypercallNr::VM_ASSIST, [1, 5]);
    // An area that goes away is no harm.
    let leaf = mmu::leaf(area).unwrap_or_default().value;
    update_va(area, 0, 2);
    sched::poll(&[], time::now() + 5_000_000);
    update_va(area, leaf, 2);
    number("register an area that is not mapped", register(UNMAPPED), 0);
    error(
        "register an area in the hypervisor",
        register(HYPERVISOR),
        Errno::EFAULT,
    );
    number("register no area", register(0), 0);
}

fn time_area() {
    let page = pages::take();
    let area = pages::take();
    let register = |address: u64| {
        pages::write(page, address);
        vcpu_op(13, 0, page)
    };
    number("register the time area", register(area), 0);
    let copy: VcpuTimeInfo = pages::read(area);
    let info = shared::time_info();
    same(
        "time area has the clock's scale",
        (copy.tsc_to_system_mul, copy.tsc_shift, copy.version & 1),
        (info.tsc_to_system_mul, info.tsc_shift, 0),
    );
    let difference = time::at(&copy, time::tsc()).abs_diff(time::now());
    holds(
        "time area tells the same time",
        difference,
        difference < 10_000_000,
    );
    error(
        "register a time area in the hypervisor",
        register(HYPERVISOR),
        Errno::EFAULT,
    );
    number("register no time area", register(0), 0);
}

fn others() {
    let page = pages::take();
    let own = pages::take();
    let register = |mfn: u64, offset: u64| {
        pages::write(page, mfn);
        pages::write(page + 8, offset);
        vcpu_op(10, 0, page)
    };
    let mfn = mmu::virt_to_mfn(own);
    for offset in [4033, 4040, 4096, 0xffff_ffff] {
        error(
            format_args!("register_vcpu_info at {offset:#x}"),
            register(mfn, offset),
            Errno::ENXIO,
        );
    }
    for offset in [1, 4, 4031] {
        error(
            format_args!("register_vcpu_info at {offset:#x}"),
            register(mfn, offset),
            Errno::ENXIO,
        );
    }
    for (name, mfn) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX),
        ("a table", mmu::boot_root()),
        ("device memory", 0xfee00),
    ] {
        error(
            format_args!("register_vcpu_info in {name}"),
            register(mfn, 0),
            Errno::EINVAL,
        );
    }
}
