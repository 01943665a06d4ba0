//! Boot: from the first Rust function to the library's entry.
//!
//! 1. `head.S`: long mode on the first page tables.
//! 2. [`metal_start`]: what the loader left, options, serial line, banner, ACPI.
//! 3. [`memory`]: which memory is ours; own page tables; heap.
//! 4. [`bring_up`]: the first CPU on its own stack, the devices, then the other CPUs ([`smp`]).
//! 5. [`handover`]: the library gets the machine, the memory and the boot modules.
// UNSAFETY: exports the symbol that head.S calls.

mod bring_up;
mod build_id;
mod handover;
mod head;
pub mod logger;
mod memory;
mod smp;

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use spin::Mutex;
use xen_core::acpi::AcpiFacts;
use xen_core::boot::e820::E820;
use xen_core::boot::efi::{self, SystemTable};
use xen_core::boot::modules::PhysRange;
use xen_core::boot::options::{self, ComPort, Consoles, Options, Parsed};
use xen_core::boot::plan::{Plan, Ranges};
use xen_core::boot::{BootInfo, BootInfoError, BootMemory};

use crate::metal::cpu::features;
use crate::metal::entry::patch;
use crate::metal::mem::early::EarlyMemory;
use crate::metal::mem::layout::EARLY_MAP_END;
use crate::metal::{panic, power, serial};

/// What the first half of boot found out.
pub struct BootState {
    /// From the loader.
    pub boot: BootInfo<'static>,
    /// From the command line.
    pub options: Options,
    /// To append to the control domain's command line.
    pub dom0_extra: &'static str,
    /// From ACPI.
    pub acpi: AcpiFacts,
    /// The memory map, cut by option `mem=`.
    pub memory: E820,
    /// The hypervisor's memory.
    pub plan: Plan,
    /// What must not be overwritten yet: image, modules, the loader's data.
    pub taken: ArrayVec<PhysRange, 64>,
    /// Shift keys and locks of the keyboard, as the BIOS left them.
    pub keyboard_flags: u8,
    /// UEFI's system table.
    pub efi: Option<SystemTable>,
    /// The serial port that is the console.
    pub console_port: Option<ComPort>,
}

/// Address of the keyboard's state in the BIOS data area.
const BIOS_KEYBOARD_FLAGS: u64 = 0x417;

/// The state on its way from the boot stack to the first CPU's.
static STATE: Mutex<Option<Box<BootState>>> = Mutex::new(None);

/// Free memory, ascending: without the modules and the loader's data.
fn free_memory(state: &BootState) -> Ranges {
    state.plan.free(&state.memory, &state.taken)
}

fn take_state() -> Box<BootState> {
    let Some(state) = STATE.lock().take() else {
        panic!("boot went on twice")
    };
    state
}

/// First Rust function, called by `head.S` on the boot stack with the loader's magic number and information address.
#[unsafe(no_mangle)]
extern "C" fn metal_start(magic: u32, info: u32) -> ! {
    // SAFETY: head.S has just loaded its page tables; nothing else runs.
    let early = unsafe { EarlyMemory::new() };
    let boot = match xen_core::boot::read(magic, u64::from(info), &early) {
        Ok(boot) => boot,
        Err(error) => stop_without_loader(error),
    };
    let Parsed {
        options,
        complaints,
        dom0_extra,
    } = options::parse(boot.command_line);
    power::set_policy(&options);
    // Without a UART there is nobody to tell.
    let console_port = console_port(&options).filter(serial::init);
    logger::init(options.loglvl);
    print_banner(&boot);
    for complaint in &complaints {
        log::warn!("Command line: {complaint}");
    }
    let keyboard_flags = early
        .bytes(BIOS_KEYBOARD_FLAGS, 1)
        .map_or(0, |bytes| bytes[0]);
    let efi = boot
        .efi_system_table
        .and_then(|table| efi::system_table(table, &early));
    let acpi = AcpiFacts::read(boot.rsdp, &early);
    let memory = options
        .mem
        .map_or_else(|| boot.memory.clone(), |limit| boot.memory.limited(limit));
    let modules = boot.modules.as_slice().iter().map(|module| module.range);
    let taken: ArrayVec<_, 64> = [memory::image()]
        .into_iter()
        .chain(modules)
        .chain(boot.reserved.clone())
        .collect();
    check_modules(&boot);
    let cpus = acpi.madt.as_ref().map_or(1, |madt| madt.cpus.len());
    let cpus = 1 + smp::wanted(&options, cpus) as u64;
    let plan = match Plan::choose(&memory, &taken, EARLY_MAP_END, cpus) {
        Ok(plan) => plan,
        Err(error) => panic::fatal(format_args!("{error}")),
    };
    if features::use_smap(&options) {
        // SAFETY: the first page tables map everything writable, and only this CPU runs.
        unsafe { patch::enable_smap_instructions() };
    }
    // SAFETY: once, on the first page tables, with the plan for this memory.
    unsafe { memory::switch_to_own_tables(&boot.memory, &plan) };
    *STATE.lock() = Some(Box::new(BootState {
        boot,
        options,
        dom0_extra,
        acpi,
        memory,
        plan,
        taken,
        keyboard_flags,
        efi,
        console_port,
    }));
    bring_up::start_first_cpu()
}

/// The serial port that option `console=` names; the first one where it names both.
fn console_port(options: &Options) -> Option<ComPort> {
    let Consoles { com1, com2, .. } = options.consoles;
    if com1 {
        return Some(options.com1);
    }
    com2.then_some(options.com2)
}

/// All modules must lie in memory: they are read through the direct map.
fn check_modules(boot: &BootInfo<'_>) {
    for (index, module) in boot.modules.as_slice().iter().enumerate() {
        let range = module.range;
        let inside = |ram: PhysRange| ram.start <= range.start && range.end <= ram.end;
        if !boot.memory.ram().any(inside) {
            let (start, end) = (range.start, range.end);
            panic::fatal(format_args!(
                "Module {index} at {start:#x} to {end:#x} lies outside of memory"
            ));
        }
    }
}

fn stop_without_loader(error: BootInfoError) -> ! {
    serial::init(&ComPort::first());
    panic::fatal(format_args!("{error}"))
}

/// What a user sees first, whatever the log level.
fn print_banner(boot: &BootInfo<'_>) {
    let version = env!("CARGO_PKG_VERSION");
    logger::print(format_args!(
        "Xenolith {version}: a Xen 4.17 compatible hypervisor"
    ));
    logger::print(format_args!("Bootloader: {}", boot.loader));
    logger::print(format_args!("Command line: {}", boot.command_line));
    log::info!("Physical memory map:");
    for region in boot.memory.regions() {
        let (start, last) = (region.range.start, region.range.end - 1);
        log::info!(" [{start:#018x}, {last:#018x}] ({})", region.kind);
    }
    for (index, module) in boot.modules.as_slice().iter().enumerate() {
        let (start, len) = (module.range.start, module.range.len());
        log::info!(
            "Module {index}: {len} bytes at {start:#x}, arguments \"{}\"",
            module.command_line
        );
    }
    if boot.modules.dropped() > 0 {
        log::warn!(
            "{} modules more than can be kept were ignored",
            boot.modules.dropped()
        );
    }
}
