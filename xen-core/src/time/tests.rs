//! Timers and clocks on the simulated machine.

extern crate std;

use std::sync::Arc;
use std::sync::Mutex;
use std::vec::Vec;

use core::sync::atomic::Ordering;

use hypercall_abi::xen::Virq;

use super::{Event, TimerTask, boot_time};
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::{Clock, Frames, WallTime};
use crate::num::{CpuId, Pfn, Port, VcpuId};
use crate::sim::{PvGuest, SimConfig, SimMachine, on_cpu, world, world_with};

const CPU: CpuId = CpuId(0);
const MS: u64 = 1_000_000;

type World = Hypervisor<SimMachine>;

/// A guest whose VIRQ_TIMER is bound.
fn guest(hv: &World) -> (PvGuest, Port) {
    let guest = PvGuest::unprivileged(hv, 1, 40);
    guest.vcpu.clear_flags(VcpuFlags::DOWN);
    hv.stop_periodic(&guest.vcpu);
    let port = hv
        .bind_virq(&guest.domain, Virq::TIMER, VcpuId(0))
        .expect("port");
    (guest, port)
}

/// Whether the timer has fired since the last look.
fn fired(hv: &World, domain: &Domain, port: Port) -> bool {
    let word = &hv.machine.words(domain.shared_info)[256];
    word.fetch_and(!(1 << port.0), Ordering::SeqCst) & 1 << port.0 != 0
}

/// Lets time pass and the timers run.
fn pass(hv: &World, ns: u64) {
    hv.machine.advance_ns(ns);
    hv.run_timers(CPU);
}

fn armed(vcpu: &Arc<Vcpu>) -> u64 {
    vcpu.singleshot_ns.load(Ordering::SeqCst)
}

#[test]
fn a_singleshot_fires_once_at_its_time() {
    let hv = world();
    let (guest, port) = guest(&hv);
    let deadline = hv.machine.now_ns() + 5 * MS;
    hv.set_singleshot(&guest.vcpu, deadline);
    assert_eq!(hv.machine.deadline(CPU), Some(deadline));
    pass(&hv, 5 * MS - 1);
    assert!(!fired(&hv, &guest.domain, port));
    pass(&hv, 1);
    assert!(fired(&hv, &guest.domain, port));
    assert_eq!(armed(&guest.vcpu), 0);
    pass(&hv, 100 * MS);
    assert!(!fired(&hv, &guest.domain, port));
    assert_eq!(hv.machine.deadline(CPU), None);
}

#[test]
fn a_deadline_in_the_past_fires_at_once() {
    let hv = world();
    let (guest, port) = guest(&hv);
    hv.set_singleshot(&guest.vcpu, hv.machine.now_ns() + MS);
    hv.set_singleshot(&guest.vcpu, hv.machine.now_ns());
    assert!(fired(&hv, &guest.domain, port));
    pass(&hv, 10 * MS);
    assert!(!fired(&hv, &guest.domain, port));
}

#[test]
fn rearming_replaces_and_a_vcpu_has_one_deadline_wherever_it_runs() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let (guest, port) = guest(&hv);
    let now = hv.machine.now_ns();
    for i in 1..50 {
        on_cpu(CpuId(i % 2), || {
            hv.set_singleshot(&guest.vcpu, now + u64::from(i) * MS)
        });
    }
    assert_eq!(
        hv.timers.armed_on(CpuId(0)) + hv.timers.armed_on(CpuId(1)),
        1
    );
    hv.machine.advance_ns(48 * MS);
    for cpu in [CpuId(0), CpuId(1)] {
        on_cpu(cpu, || hv.run_timers(cpu));
    }
    assert!(!fired(&hv, &guest.domain, port));
    hv.stop_singleshot(&guest.vcpu);
    assert_eq!(
        hv.timers.armed_on(CpuId(0)) + hv.timers.armed_on(CpuId(1)),
        0
    );
}

#[test]
fn ticks_come_with_their_period_until_they_are_stopped() {
    let hv = world();
    let (guest, port) = guest(&hv);
    hv.set_periodic(&guest.vcpu, 10 * MS);
    for _ in 0..3 {
        pass(&hv, 10 * MS - 1);
        assert!(!fired(&hv, &guest.domain, port));
        pass(&hv, 1);
        assert!(fired(&hv, &guest.domain, port));
    }
    hv.stop_periodic(&guest.vcpu);
    pass(&hv, 50 * MS);
    assert!(!fired(&hv, &guest.domain, port));
}

#[test]
fn a_vcpu_gets_no_ticks_while_it_is_off_and_one_when_it_is_back() {
    let hv = world();
    let (guest, port) = guest(&hv);
    hv.set_periodic(&guest.vcpu, 10 * MS);
    guest.vcpu.set_running(None);
    pass(&hv, 35 * MS);
    assert!(!fired(&hv, &guest.domain, port));
    assert_eq!(hv.machine.deadline(CPU), None);
    guest.vcpu.set_running(Some(CPU));
    hv.resume_periodic(&guest.vcpu);
    assert!(fired(&hv, &guest.domain, port));
    pass(&hv, 10 * MS);
    assert!(fired(&hv, &guest.domain, port));
}

#[test]
fn a_poll_ends_at_its_deadline() {
    let hv = world();
    let (guest, _) = guest(&hv);
    guest
        .vcpu
        .set_flags(VcpuFlags::BLOCKED | VcpuFlags::POLLING);
    hv.set_poll_timeout(&guest.vcpu, hv.machine.now_ns() + MS);
    pass(&hv, MS - 1);
    assert!(guest.vcpu.flags().contains(VcpuFlags::BLOCKED));
    pass(&hv, 1);
    assert!(
        !guest
            .vcpu
            .flags()
            .intersects(VcpuFlags::BLOCKED | VcpuFlags::POLLING)
    );
    // A wait that is not a poll does not end with the deadline of an old one.
    hv.set_poll_timeout(&guest.vcpu, hv.machine.now_ns() + MS);
    guest.vcpu.set_flags(VcpuFlags::BLOCKED);
    pass(&hv, MS);
    assert!(guest.vcpu.flags().contains(VcpuFlags::BLOCKED));
}

#[test]
fn a_watchdog_that_is_not_petted_shuts_the_domain_down() {
    let hv = world();
    let (guest, _) = guest(&hv);
    let arm = |slot: usize, ns: u64| {
        let deadline = hv.machine.now_ns() + ns;
        guest.domain.watchdogs[slot].store(deadline, Ordering::SeqCst);
        hv.arm_watchdog(&guest.domain, slot, deadline);
    };
    arm(0, 10 * MS);
    arm(1, 20 * MS);
    pass(&hv, 9 * MS);
    arm(0, 100 * MS);
    pass(&hv, 9 * MS);
    assert_eq!(guest.domain.ending.lock().shutdown, None);
    pass(&hv, 2 * MS);
    assert_eq!(guest.domain.ending.lock().shutdown, Some(4));
}

#[derive(Debug)]
struct Recorder(Mutex<Vec<u64>>);

impl TimerTask for Recorder {
    fn expire(&self, now_ns: u64) -> Option<u64> {
        let mut seen = self.0.lock().expect("not poisoned");
        seen.push(now_ns);
        // An impossible wish, to which the answer must not be an endless loop.
        (seen.len() < 3).then_some(0)
    }
}

#[test]
fn tasks_run_again_when_they_ask_for_it_and_never_in_a_circle() {
    let hv = world();
    let task = Arc::new(Recorder(Mutex::new(Vec::new())));
    hv.arm_timer(hv.machine.now_ns() + MS, Event::Task(task.clone()));
    let start = hv.machine.now_ns();
    for _ in 0..5 {
        pass(&hv, MS);
    }
    assert_eq!(
        *task.0.lock().expect("not poisoned"),
        [start + MS, start + 2 * MS, start + 3 * MS]
    );
}

#[test]
fn deadlines_fire_in_order() {
    let hv = world();
    let order: Vec<Arc<Recorder>> = (0..3)
        .map(|_| Arc::new(Recorder(Mutex::new(Vec::new()))))
        .collect();
    let now = hv.machine.now_ns();
    for (task, ms) in order.iter().zip([30, 10, 20]) {
        hv.arm_timer(now + ms * MS, Event::Task(task.clone()));
    }
    assert_eq!(hv.machine.deadline(CPU), Some(now + 10 * MS));
    pass(&hv, 10 * MS);
    let ran: Vec<usize> = order
        .iter()
        .map(|task| task.0.lock().expect("not poisoned").len())
        .collect();
    assert_eq!(ran, [0, 1, 0]);
}

#[test]
fn the_published_time_follows_the_clock_and_its_version_the_protocol() {
    let hv = world();
    let (guest, _) = guest(&hv);
    let info = guest.vcpu.info().expect("info");
    let read = || {
        info.time_words(&hv.machine)
            .map(|word| word.load(Ordering::SeqCst))
    };
    let before = read()[0];
    hv.machine.advance_ns(12_345);
    hv.publish_time(&guest.vcpu);
    let [version, tsc, system_time, scale] = read();
    assert_eq!(version % 2, 0);
    assert_ne!(version, before);
    assert_eq!((tsc, system_time), hv.machine.time_base());
    assert_eq!(scale, 1 << 31 | 1 << 32 | 1 << 40);
    // A guest that spoils the version gets an even one again.
    info.time_words(&hv.machine)[0].store(u64::MAX, Ordering::SeqCst);
    hv.publish_time(&guest.vcpu);
    assert_eq!(read()[0] % 2, 0);
}

#[test]
fn the_secondary_copy_is_whole_and_even() {
    let hv = world();
    let (guest, _) = guest(&hv);
    hv.publish_time(&guest.vcpu);
    let area = guest.va(Pfn(3)) + 64;
    on_cpu(guest.cpu, || hv.write_time_area(&guest.vcpu, area)).expect("writable");
    let first = guest.load(&hv, area).expect("readable");
    assert_eq!(first % 2, 0);
    assert_eq!(guest.load(&hv, area + 16), Ok(hv.machine.now_ns()));
    hv.publish_time(&guest.vcpu);
    on_cpu(guest.cpu, || hv.write_time_area(&guest.vcpu, area)).expect("writable");
    assert_ne!(guest.load(&hv, area), Ok(first));
    assert!(on_cpu(guest.cpu, || hv.write_time_area(&guest.vcpu, 0x1000)).is_err());
    assert!(
        on_cpu(guest.cpu, || hv
            .write_time_area(&guest.vcpu, 0xffff_8000_0000_0000))
        .is_err()
    );
}

#[test]
fn the_wall_clock_is_the_time_at_boot_with_the_domains_offset() {
    let hv = world();
    let (guest, _) = guest(&hv);
    let words =
        |i: usize| hv.machine.words(guest.domain.shared_info)[384 + i].load(Ordering::SeqCst);
    guest
        .domain
        .time_offset_s
        .store((-3600i64).cast_unsigned(), Ordering::Relaxed);
    let before = words(0) as u32;
    hv.set_wallclock(
        WallTime {
            secs: 0x1_0000_0e20,
            nanos: 500,
        },
        10_000_000_100,
    );
    assert_eq!((words(0) as u32) % 2, 0);
    assert_ne!(words(0) as u32, before);
    // 0x1_0000_0e20 s - 10 s - 3600 s, 400 ns.
    assert_eq!(
        (words(0) >> 32) | (words(1) >> 32) << 32,
        0x1_0000_0e20 - 3610
    );
    assert_eq!(words(1) & 0xffff_ffff, 400);
}

#[test]
fn a_clock_from_before_the_epoch_is_the_epoch() {
    assert_eq!(
        boot_time(WallTime { secs: 1, nanos: 0 }, 2_000_000_000),
        WallTime::default()
    );
    let late = WallTime {
        secs: u64::MAX,
        nanos: 999_999_999,
    };
    assert_eq!(boot_time(late, 0), late);
    assert_eq!(
        boot_time(WallTime { secs: 5, nanos: 1 }, 2),
        WallTime {
            secs: 4,
            nanos: 999_999_999
        }
    );
}
