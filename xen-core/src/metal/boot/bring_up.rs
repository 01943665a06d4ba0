//! The second half of boot: on the first CPU's own stack, with a heap, device by device.
// UNSAFETY: sets up the executing CPU.

use super::{BootState, handover, head, smp, take_state};
use crate::metal::cpu::{cpuid, features, fpu, gdt, idt, percpu, syscall_msr};
use crate::metal::entry;
use crate::metal::irq::{i8259, ioapic, lapic};
use crate::metal::mem::heap;
use crate::metal::mem::stacks::{self, Stack, this_cpu};
use crate::metal::time::{calibrate, clock};
use crate::metal::{machine_check, pio, power, svm};
use xen_core::boot::options::Options;

/// Makes the first CPU's data and goes on on its stack.
pub fn start_first_cpu() -> ! {
    head::check_boot_stack();
    let cpu = percpu::PerCpu::create(cpuid::initial_apic_id());
    gdt::create(cpu);
    // SAFETY: the stack was made just now; the state for the rest of boot is in a static.
    unsafe { entry::continue_on_stack(stacks::top(cpu.number, Stack::Main), on_own_stack) }
}

extern "C" fn on_own_stack() -> ! {
    percpu::set_ready();
    let state = take_state();
    i8259::disable();
    set_up_cpu(&state.options);
    percpu::set_online(this_cpu().number);
    set_up_devices(&state);
    smp::start_others(&state);
    log::info!("Heap {} MiB", heap::size_and_used().0 >> 20);
    handover::run(&state)
}

/// Descriptor tables, protection, system calls, FPU, local APIC of the executing CPU.
pub fn set_up_cpu(options: &Options) {
    let cpu = this_cpu();
    // SAFETY: this is the executing CPU, with its stacks and descriptor window made; in this order each step has what
    // it needs.
    unsafe {
        gdt::load(cpu);
        idt::load();
        features::set_up(cpu, options);
        syscall_msr::set_up(cpu);
    }
    fpu::set_up(options.xsave);
    // SAFETY: the executing CPU, with its tables and system-call registers set up above.
    unsafe { svm::set_up(cpu) };
    machine_check::set_up();
    lapic::set_up(options.x2apic, cpu.number == 0);
    if lapic::id() != cpu.apic_id {
        log::warn!(
            "Local APIC id {} differs from what CPUID says: {}",
            lapic::id(),
            cpu.apic_id
        );
    }
    let form = if lapic::is_x2apic() {
        "x2APIC"
    } else {
        "xAPIC"
    };
    log::info!(
        "CPU {}: APIC id {}, {form}, XCR0 {:#x}",
        cpu.number,
        cpu.apic_id,
        fpu::host_xcr0()
    );
}

fn set_up_devices(state: &BootState) {
    power::set_up(&state.acpi, &state.options);
    match &state.acpi.madt {
        Some(madt) => {
            let usable = madt.cpus.iter().filter(|cpu| cpu.enabled).count();
            log::info!("ACPI names {usable} processors");
            ioapic::set_up(madt);
        }
        None => log::warn!("No ACPI table of interrupt controllers: devices cannot interrupt"),
    }
    pio::set_up(&state.acpi.mcfg);
    clock::start(calibrate::measure_rates(
        &state.acpi,
        state.options.clocksource,
    ));
}
