//! Starting the other processors (SDM 3A 8.4, Intel MultiProcessor Specification B.4): one after the other, each with
//! INIT and two start-up interrupts. One that does not come up is named and left out, and its number stays unused.
//!
//! A processor that is up waits, halted, until the hypervisor and its control domain are built; then it joins in.
// UNSAFETY: writes the code that processors start in, and sets up the executing CPU.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use spin::Once;
use xen_core::acpi::madt::CpuEntry;
use xen_core::boot::modules::PhysRange;
use xen_core::boot::options::Options;
use xen_core::boot::plan;
use xen_core::irq::KICK_VECTOR;
use xen_core::machine::CpuMask;
use xen_core::num::CpuId;

use super::{BootState, bring_up, head};
use crate::metal::cpu::control::{CR0_BOOT, EFER_BOOT};
use crate::metal::cpu::percpu::{self, PerCpu};
use crate::metal::cpu::{gdt, msr};
use crate::metal::entry;
use crate::metal::irq::lapic;
use crate::metal::mem::layout::DIRECT_MAP_BASE;
use crate::metal::mem::paging::{self, PAGE_SIZE, with_tables};
use crate::metal::mem::stacks::{self, Stack, this_cpu};
use crate::metal::time::{clock, tsc};

global_asm!(
    include_str!("trampoline.S"),
    boot_ds = const head::BOOT_DS,
    boot_cs64 = const head::BOOT_CS64,
    cr4_boot = const head::CR4_BOOT,
    msr_efer = const msr::EFER,
    efer_boot = const EFER_BOOT,
    cr0_boot = const CR0_BOOT,
    options(att_syntax),
);

unsafe extern "C" {
    static trampoline_start: [u8; 0];
    static trampoline_end: [u8; 0];
    static trampoline_gdt_base: [u8; 0];
    static trampoline_far32: [u8; 0];
    static trampoline_far64: [u8; 0];
    static trampoline_root: [u8; 0];
    static trampoline_stack: [u8; 0];
    static trampoline_entry: [u8; 0];
}

/// Where start-up interrupts can lead: conventional memory, without the page that the BIOS uses.
const LOW_MEMORY: PhysRange = PhysRange::new(PAGE_SIZE, 0xa_0000);
const MS: u64 = 1_000_000;
const US: u64 = 1_000;
/// Between INIT and the first start-up interrupt.
const AFTER_INIT: u64 = 10 * MS;
/// After the first start-up interrupt, before the second.
const AFTER_STARTUP: u64 = 200 * US;
/// How long a processor has to come up.
const PATIENCE: u64 = 1_000 * MS;

/// How far the processor that is being started has come.
static PROGRESS: AtomicU32 = AtomicU32::new(WAITED_FOR);
const WAITED_FOR: u32 = 0;
const ARRIVED: u32 = 1;
const GIVEN_UP: u32 = 2;

/// A counter value that two processors exchange, see [`compare_counters`].
static COUNTER: AtomicU64 = AtomicU64::new(0);
/// The hypervisor is built: whoever waits may go on.
static RELEASED: AtomicBool = AtomicBool::new(false);
/// What processors are set up by.
static OPTIONS: Once<Options> = Once::new();

/// Number of processors that are to be started, at most, besides the first.
pub fn wanted(options: &Options, cpus: usize) -> usize {
    let all = cpus.min(CpuMask::CAPACITY as usize);
    let limit = if options.nosmp {
        1
    } else {
        options.maxcpus.map_or(all, |most| most.max(1) as usize)
    };
    all.min(limit).saturating_sub(1)
}

/// Starts all processors that ACPI names and the options allow.
pub fn start_others(state: &BootState) {
    let Some(madt) = &state.acpi.madt else { return };
    let first = this_cpu().apic_id;
    let usable = madt.cpus.iter().filter(|cpu| cpu.enabled);
    let wanted = wanted(&state.options, usable.clone().count());
    let others = usable.filter(|cpu| cpu.apic_id != first);
    if wanted == 0 {
        return;
    }
    let low = plan::ranges_outside(&state.boot.memory, &state.taken, LOW_MEMORY.start);
    let page = low
        .iter()
        .map(|range| range.end.min(LOW_MEMORY.end).saturating_sub(PAGE_SIZE))
        .zip(&low)
        .filter(|&(page, range)| page >= range.start)
        .map(|(page, _)| page)
        .max();
    let Some(page) = page else {
        log::warn!("No free page below 1 MiB to start processors in: only the first one is used");
        return;
    };
    OPTIONS.call_once(|| state.options.clone());
    let root = with_tables(|tables| tables.with_identity(page));
    for cpu in others.take(wanted) {
        start(cpu, page, root);
    }
    let online = percpu::online().iter().count();
    log::info!("Brought up {online} CPUs");
}

fn start(entry: &CpuEntry, page: u64, root: u64) {
    let apic_id = entry.apic_id;
    if apic_id > lapic::max_id() {
        log::warn!("APIC id {apic_id:#x} can be reached in x2APIC mode only: processor left out");
        return;
    }
    let cpu = PerCpu::create(apic_id);
    gdt::create(cpu);
    write_trampoline(page, root, stacks::top(cpu.number, Stack::Main));
    PROGRESS.store(WAITED_FOR, Ordering::SeqCst);
    lapic::send_init(apic_id);
    wait(AFTER_INIT, || false);
    for _ in 0..2 {
        lapic::send_startup(apic_id, page);
        wait(AFTER_STARTUP, has_arrived);
    }
    wait(PATIENCE, has_arrived);
    if PROGRESS
        .compare_exchange(WAITED_FOR, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
    {
        // It stays in reset, so that it cannot run later in memory that has another use by then.
        lapic::send_init(apic_id);
        log::warn!(
            "CPU {} (APIC id {apic_id:#x}) does not come up: left out",
            cpu.number
        );
        return;
    }
    compare_counters(cpu.number);
    wait(PATIENCE, || percpu::online().contains(CpuId(cpu.number)));
}

fn has_arrived() -> bool {
    PROGRESS.load(Ordering::SeqCst) == ARRIVED
}

/// Waits until `done`, at most `ns`.
fn wait(ns: u64, done: impl Fn() -> bool) {
    let end = clock::now_ns() + ns;
    while !done() && clock::now_ns() < end {
        core::hint::spin_loop();
    }
}

/// Fills the page at `page` with the code that a processor starts in, for one with this stack.
fn write_trampoline(page: u64, root: u64, stack: u64) {
    let start = &raw const trampoline_start as u64;
    let len = &raw const trampoline_end as u64 - start;
    assert!(len <= PAGE_SIZE, "the start-up code is longer than a page");
    let base = (DIRECT_MAP_BASE + page) as *mut u8;
    let offset = |symbol: *const [u8; 0]| (symbol as u64 - start) as usize;
    // SAFETY: a free page of conventional memory, in the direct map, which nothing is allocated from. The values are
    // words of the code itself.
    unsafe {
        base.copy_from_nonoverlapping(start as *const u8, len as usize);
        for relative in [
            &raw const trampoline_gdt_base,
            &raw const trampoline_far32,
            &raw const trampoline_far64,
        ] {
            let word = base.add(offset(relative)).cast::<u32>();
            word.write_unaligned(word.read_unaligned() + page as u32);
        }
        for (symbol, value) in [
            (&raw const trampoline_root, root),
            (&raw const trampoline_stack, stack),
            (&raw const trampoline_entry, arrive as *const () as u64),
        ] {
            base.add(offset(symbol))
                .cast::<u64>()
                .write_unaligned(value);
        }
    }
}

/// Where a processor arrives, on its own stack, with the page tables of the trampoline.
extern "C" fn arrive() -> ! {
    if PROGRESS
        .compare_exchange(WAITED_FOR, ARRIVED, Ordering::SeqCst, Ordering::SeqCst)
        .is_err()
    {
        loop {
            x86_64::instructions::hlt();
        }
    }
    // SAFETY: the hypervisor's own tables map everything that runs here.
    unsafe { paging::load_root(paging::own_root()) };
    let Some(options) = OPTIONS.get() else {
        panic!("a processor started by itself")
    };
    bring_up::set_up_cpu(options);
    lapic::set_up_timer();
    answer_counter();
    percpu::set_online(this_cpu().number);
    while !RELEASED.load(Ordering::SeqCst) {
        x86_64::instructions::interrupts::enable_and_hlt();
        x86_64::instructions::interrupts::disable();
    }
    entry::enter_guests()
}

/// Lets the processors that wait join in.
pub fn release() {
    RELEASED.store(true, Ordering::SeqCst);
    for cpu in percpu::online().iter().filter_map(percpu::find) {
        if cpu.number != this_cpu().number {
            lapic::send_to(cpu.apic_id, KICK_VECTOR.0);
        }
    }
}

/// Measures how far the counter of the processor that has just come up is away from this one's. All of them should
/// count alike; system time is read from whichever a vCPU runs on.
fn compare_counters(number: u32) {
    let mut best = u64::MAX;
    let mut skew = 0i64;
    for round in 0..ROUNDS {
        let sent = tsc::read();
        COUNTER.store(REQUEST + round, Ordering::SeqCst);
        let theirs = loop {
            match COUNTER.load(Ordering::SeqCst) {
                value if value >= REQUEST => core::hint::spin_loop(),
                value => break value,
            }
        };
        let received = tsc::read();
        let trip = received.wrapping_sub(sent);
        if trip < best {
            best = trip;
            skew = theirs.wrapping_sub(sent + trip / 2) as i64;
        }
    }
    COUNTER.store(FINISHED, Ordering::SeqCst);
    if skew.unsigned_abs() > best / 2 {
        log::warn!(
            "CPU {number}: its time-stamp counter is {skew} ticks away from CPU 0's (measured to {} ticks)",
            best / 2
        );
    }
}

/// Exchanges of counters; the quickest one counts.
const ROUNDS: u64 = 8;
/// Values of [`COUNTER`] from here on are no counters but requests for one.
const REQUEST: u64 = u64::MAX - 100;
/// The last request: no answer is wanted.
const FINISHED: u64 = u64::MAX;

/// The other side of [`compare_counters`].
fn answer_counter() {
    let mut last = 0;
    loop {
        match COUNTER.load(Ordering::SeqCst) {
            FINISHED => break,
            value if value >= REQUEST && value != last => {
                last = value;
                COUNTER.store(tsc::read(), Ordering::SeqCst);
            }
            _ => core::hint::spin_loop(),
        }
    }
    COUNTER.store(0, Ordering::SeqCst);
}
