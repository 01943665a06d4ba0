//! The library gets the machine, the memory and the boot modules, and builds the control domain.
//!
//! Memory is handed over in two parts: what is free, before the control domain's kernel is loaded; the boot modules,
//! the loader's data and the scratch memory that the kernel was decompressed into, after.
// UNSAFETY: makes slices of memory that nothing else uses yet.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use hypercall_abi::xen::{Dom0VgaConsoleInfo, Dom0VgaConsoleInfoU, VgaTextMode3, VgaType};
use xen_core::boot::efi::{self, EfiFacts};
use xen_core::boot::firmware::FirmwareInfo;
use xen_core::boot::modules::{Module, PhysRange};
use xen_core::boot::numa::Numa;
use xen_core::boot::options::{self, Options};
use xen_core::boot::plan::{FRAME_RECORD_SIZE, Ranges};
use xen_core::console::{Console, ConsoleSettings, Outlet};
use xen_core::cpu_policy::CpuPolicies;
use xen_core::dom0::build::{Dom0Image, LoadedDom0};
use xen_core::dom0::bzimage::{self, Compression};
use xen_core::dom0::elf::{self, Kernel};
use xen_core::dom0::{KernelError, decompress};
use xen_core::domain::DomainTable;
use xen_core::hypervisor::Hypervisor;
use xen_core::irq::{Configuration, GsiDefault, IrqTable, McfgRange, SERIAL_VECTOR};
use xen_core::machine::{HvmCpu, Polarity, Trigger};
use xen_core::mce::Telemetry;
use xen_core::mm::{Memory, PageInfo};
use xen_core::num::{CpuId, Gsi, Mfn, PAGE_SHIFT};
use xen_core::pm::PowerStates;
use xen_core::sched::{Policy, Scheduler, Settings};
use xen_core::sync::{Rank, RankedMutex};
use xen_core::time::{Timers, boot_time};
use zerocopy::FromZeros;

use super::{BootState, free_memory, logger, smp};
use crate::metal::cpu::{cpuid, percpu};
use crate::metal::irq::ioapic;
use crate::metal::machine::X86;
use crate::metal::mem::layout::{DIRECT_MAP_BASE, FRAME_TABLE_BASE};
use crate::metal::mem::ram::Ram;
use crate::metal::time::{clock, cmos};
use crate::metal::{HYPERVISOR, entry, panic, serial, watchdog};

const _: () = assert!(size_of::<PageInfo>() as u64 == FRAME_RECORD_SIZE);

/// Pages of 4 KiB in a page of 2 MiB.
const PAGES_PER_2M: u64 = 512;
/// First frame and number of frames of local APICs and messages that look like theirs (SDM 3A 11.11).
const APIC_FRAMES: (u64, u64) = (0xfee00, 0x100);

/// Builds the hypervisor and the control domain, and runs it.
pub fn run(state: &BootState) -> ! {
    let hypervisor = HYPERVISOR.call_once(|| build_hypervisor(state));
    reserve_serial_interrupt(hypervisor, state);
    let modules = state.boot.modules.as_slice();
    let Some((kernel, rest)) = modules.split_first() else {
        panic::fatal(format_args!(
            "dom0 kernel not specified. Check bootloader configuration."
        ));
    };
    if let Err(error) = build_dom0(hypervisor, state, kernel, rest.first()) {
        panic::fatal(format_args!("Could not construct domain 0: {error}"));
    }
    hypervisor.start_console_input();
    start_watchdog(hypervisor, state);
    smp::release();
    entry::enter_guests()
}

fn build_hypervisor(state: &BootState) -> Hypervisor<X86> {
    let console = Console::new(ConsoleSettings::from(&state.options));
    console.set_outlet(Outlet {
        write: serial::write,
        now_ns: clock::now_ns,
    });
    logger::forward_to(console.clone());
    // SAFETY: the table was mapped and filled for this number of frames.
    let ram = unsafe { Ram::new(state.plan.frames) };
    let machine = X86 { ram };
    let e820: Vec<_> = state.boot.memory.entries().collect();
    let mem = books(state);
    mem.mark_device_memory(&e820);
    mem.set_m2p(machine.ram.m2p_table());
    let sched = scheduler(&state.options);
    Hypervisor {
        policies: policies(&machine),
        mem,
        domains: DomainTable::new(),
        sched,
        timers: Timers::new(percpu::count()),
        irqs: IrqTable::new(interrupt_configuration(state)),
        machine_checks: Telemetry::default(),
        audits: xen_core::domain::audit::AuditRequests::default(),
        power: PowerStates::default(),
        console,
        wallclock: RankedMutex::new(Rank::Machine, boot_time(cmos::read(), clock::now_ns())),
        e820,
        firmware: firmware(state),
        options: state.options.clone(),
        command_line: String::from(state.boot.command_line),
        build_id: super::build_id::read(),
        machine,
    }
}

/// What ACPI, EFI and the BIOS told. Not inlined: its temporaries would stay on the stack for all of boot.
#[inline(never)]
fn firmware(state: &BootState) -> FirmwareInfo {
    let cpus = state.acpi.madt.iter().flat_map(|madt| &madt.cpus);
    let numa = Numa::new(
        &state.acpi.srat,
        state.acpi.slit.as_ref(),
        state.boot.memory.ram(),
    );
    if numa.nodes() > 1 {
        log::info!("{} NUMA nodes", numa.nodes());
    }
    FirmwareInfo {
        keyboard_flags: state.keyboard_flags,
        processors: cpus.map(|cpu| (cpu.apic_id, cpu.acpi_id)).collect(),
        numa,
        efi: state.efi.clone().map(|system_table| EfiFacts {
            system_table,
            memory_map: efi::memory_map(state.boot.efi_memory_map.unwrap_or_default()).collect(),
        }),
        ..FirmwareInfo::default()
    }
}

/// The scheduler that the options ask for, with this processor. The others join when they come up.
fn scheduler(options: &Options) -> Scheduler {
    let default = Settings::default();
    let policy = match options.sched {
        options::Scheduler::Null => Policy::Null,
        options::Scheduler::Credit2 => Policy::Credit2,
        options::Scheduler::Credit => {
            log::warn!("Could not find scheduler: credit");
            Policy::Credit2
        }
    };
    let settings = Settings {
        policy,
        ratelimit_us: options.sched_ratelimit_us.unwrap_or(default.ratelimit_us),
        migrate_resist_us: options
            .sched_credit2_migrate_resist
            .unwrap_or(default.migrate_resist_us),
    };
    let sched = Scheduler::new(settings, percpu::count());
    sched.cpu_online(CpuId(0));
    let (name, short) = sched.name();
    log::info!("Using scheduler: {name} ({short})");
    sched
}

/// The books of all frames, with nothing handed over yet.
fn books(state: &BootState) -> Memory {
    let plan = &state.plan;
    // SAFETY: the frame table is mapped for ever, was zeroed, and has this many records, which zeroes are valid for;
    // this is its only use.
    let records = unsafe {
        core::slice::from_raw_parts(FRAME_TABLE_BASE as *const PageInfo, plan.frames as usize)
    };
    let mem = Memory::new(records, cpuid::physical_address_bits());
    mem.set_linear_tables(state.options.pv_linear_pt);
    let chunks =
        (plan.m2p.start >> PAGE_SHIFT..plan.m2p.end >> PAGE_SHIFT).step_by(PAGES_PER_2M as usize);
    mem.set_m2p_chunks(chunks.map(|first| Some(Mfn(first))).collect::<Box<[_]>>());
    let m2p = Mfn(plan.m2p.start >> PAGE_SHIFT);
    mem.share_read_only(m2p, plan.m2p.len() >> PAGE_SHIFT);
    let (first, count) = APIC_FRAMES;
    mem.deny_iomem(Mfn(first), count);
    for io_apic in state.acpi.madt.iter().flat_map(|madt| &madt.io_apics) {
        mem.protect_iomem(Mfn::from_addr(u64::from(io_apic.address)), 1);
    }
    mem
}

fn interrupt_configuration(state: &BootState) -> Configuration {
    let overrides = state
        .acpi
        .madt
        .iter()
        .flat_map(|madt| &madt.overrides)
        .map(|line| GsiDefault {
            gsi: Gsi(line.gsi),
            trigger: if line.level {
                Trigger::Level
            } else {
                Trigger::Edge
            },
            polarity: if line.active_low {
                Polarity::Low
            } else {
                Polarity::High
            },
        });
    let mcfg = state.acpi.mcfg.iter().map(|window| McfgRange {
        base: window.address,
        segment: window.segment,
        first_bus: window.first_bus,
        last_bus: window.last_bus,
    });
    Configuration {
        nr_gsis: ioapic::gsi_end(),
        ioapics: ioapic::ranges(),
        overrides: overrides.collect(),
        mcfg: mcfg.collect(),
        cpus: state
            .acpi
            .madt
            .as_ref()
            .map_or(1, |madt| madt.cpus.len() as u32),
        rate_limit: state.options.irq_ratelimit,
    }
}

/// The serial line's interrupt is the hypervisor's.
fn reserve_serial_interrupt(hypervisor: &Hypervisor<X86>, state: &BootState) {
    let irq = state.console_port.map_or(0, |port| port.irq);
    let Some(madt) = state.acpi.madt.as_ref().filter(|_| irq != 0) else {
        return;
    };
    let gsi = Gsi(madt.isa(irq).gsi);
    match hypervisor
        .irqs
        .reserve_gsi(&hypervisor.machine, gsi, Some(SERIAL_VECTOR), CpuId(0))
    {
        Ok(()) => serial::enable_interrupt(),
        Err(error) => log::warn!("Serial line without interrupt (GSI {}): {error:?}", gsi.0),
    }
}

/// The watchdog's timer is the ISA bus's interrupt 0, wherever that is wired.
fn start_watchdog(hypervisor: &Hypervisor<X86>, state: &BootState) {
    let Some(madt) = state.acpi.madt.as_ref().filter(|_| state.options.watchdog) else {
        return;
    };
    let gsi = Gsi(madt.isa(0).gsi);
    let reserved = hypervisor
        .irqs
        .reserve_gsi(&hypervisor.machine, gsi, None, CpuId(0));
    let timeout = state.options.watchdog_timeout;
    if reserved.is_ok() && watchdog::start(gsi, timeout) {
        log::info!(
            "Watchdog enabled: {timeout} seconds, by NMI of GSI {}",
            gsi.0
        );
    } else {
        log::warn!("No watchdog: GSI {} cannot be had", gsi.0);
    }
}

/// The screen as a BIOS leaves it: text, 80 columns of 25 rows.
fn text_screen() -> Dom0VgaConsoleInfo {
    let mut screen = Dom0VgaConsoleInfo::new_zeroed();
    screen.video_type = VgaType::TEXT_MODE_3;
    screen.u = Dom0VgaConsoleInfoU::from_text_mode_3(VgaTextMode3 {
        font_height: 16,
        cursor_x: 0,
        cursor_y: 0,
        rows: 25,
        columns: 80,
    });
    screen
}

/// Builds the control domain from its kernel and initrd.
fn build_dom0(
    hypervisor: &Hypervisor<X86>,
    state: &BootState,
    kernel: &Module<'_>,
    initrd: Option<&Module<'_>>,
) -> Result<(), KernelError> {
    let file = module_bytes(kernel);
    let payload = bzimage::recognise(file)?;
    let mut free = free_memory(state);
    let mut scratch = None;
    // An ELF file that the loader put at an odd place, or that a bzImage holds, is copied to where it can be parsed.
    if payload.compression != Compression::None || !elf::is_aligned(payload.data) {
        let size = decompress::uncompressed_size(&payload)?;
        let range = cut_from_largest(&mut free, size as u64);
        scratch = Some(range.ok_or_else(|| KernelError::TooLittleMemory {
            needed: (size as u64).div_ceil(1 << PAGE_SHIFT),
            given: free.iter().map(PhysRange::len).max().unwrap_or(0) >> PAGE_SHIFT,
        })?);
    }
    for range in &free {
        give(hypervisor, *range);
    }
    log::info!("{} MiB free for guests", hypervisor.mem.free_pages() >> 8);
    let late = || scratch.into_iter().chain(late_memory(state));
    let late_pages = late().map(|range| range.len() >> PAGE_SHIFT).sum();
    let mut command_line = String::from(kernel.command_line);
    if !state.dom0_extra.is_empty() {
        command_line.push(' ');
        command_line.push_str(state.dom0_extra);
    }
    let console = state.boot.efi_system_table.is_none().then(text_screen);
    let load = |image: &[u8]| -> Result<LoadedDom0, KernelError> {
        let image = Dom0Image {
            kernel: &Kernel::parse(image)?,
            initrd: initrd.map_or(&[], module_bytes),
            cmdline: command_line.as_bytes(),
            console: console.as_ref(),
        };
        hypervisor.load_dom0(&image, late_pages)
    };
    let loaded = match scratch {
        None => load(payload.data)?,
        Some(range) => {
            // SAFETY: free memory in the direct map that was held back from the allocator: nothing else uses it.
            let out = unsafe {
                let start = (DIRECT_MAP_BASE + range.start) as *mut u8;
                core::slice::from_raw_parts_mut(start, range.len() as usize)
            };
            let len = decompress::decompress(&payload, out)?;
            load(&out[..len])?
        }
    };
    // From here on module bytes, the loader's strings and the scratch memory are gone.
    for range in late() {
        give(hypervisor, range);
    }
    hypervisor.finish_dom0(loaded)?;
    Ok(())
}

/// Hands a range of free memory to the allocator.
fn give(hypervisor: &Hypervisor<X86>, range: PhysRange) {
    let range = range.pages_within();
    if range.is_empty() {
        return;
    }
    // SAFETY: usable memory in the direct map that the plan left free, or that boot has done with; it is given once.
    unsafe { hypervisor.machine.ram.give(range) };
    hypervisor
        .mem
        .add_range(Mfn(range.start >> PAGE_SHIFT), range.len() >> PAGE_SHIFT);
}

/// What becomes free when the control domain has been loaded: modules and the loader's data, as far as they lie in
/// usable memory that was not free before.
fn late_memory(state: &BootState) -> impl Iterator<Item = PhysRange> {
    let early = free_memory(state);
    let taken: Vec<_> = early
        .iter()
        .copied()
        .chain([super::memory::image()])
        .collect();
    state.plan.free(&state.memory, &taken).into_iter()
}

/// Cuts `size` bytes, in whole pages, from the end of the largest range.
fn cut_from_largest(free: &mut Ranges, size: u64) -> Option<PhysRange> {
    let largest = free.iter_mut().max_by_key(|range| range.len())?;
    let start = largest
        .end
        .checked_sub(size.next_multiple_of(1 << PAGE_SHIFT))
        .filter(|&at| at >= largest.start)?;
    let cut = PhysRange::new(start, largest.end);
    largest.end = start;
    Some(cut)
}

/// A module's bytes.
fn module_bytes(module: &Module<'_>) -> &'static [u8] {
    let range = module.range;
    // SAFETY: the loader put the module into usable memory, which the direct map covers, and the plan keeps others
    // away until the control domain has been loaded; the slices are dropped before.
    unsafe {
        core::slice::from_raw_parts(
            (DIRECT_MAP_BASE + range.start) as *const u8,
            range.len() as usize,
        )
    }
}

/// What guests may see of the processor; with hardware virtualization, guests of that kind too.
fn policies(machine: &X86) -> CpuPolicies {
    let policies = CpuPolicies::detect(machine);
    if machine.hvm_support().available {
        policies.with_hvm()
    } else {
        policies
    }
}
