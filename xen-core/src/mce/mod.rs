//! Machine checks: errors that the processor reports in its banks (SDM volume 3, chapter 16).
//!
//! An error that was corrected stays in its bank until somebody looks: every processor does so now and then. One that was
//! not raises #MC; the machine side panics if what it destroyed cannot be told, and otherwise leaves it in the bank,
//! too. Either way [`Hypervisor::collect_machine_checks`] empties the banks, logs what it finds, keeps a record for the
//! control domain (`mca` hypercall) and raises VIRQ_MCA.

mod banks;
mod telemetry;

pub use banks::Bank;
pub use telemetry::{Telemetry, Urgency};

use hypercall_abi::xen::Virq;

use crate::console::Level;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::time::Event;

/// How often a processor looks at its banks.
const POLL_NS: u64 = 4_000_000_000;

impl<M: Machine> Hypervisor<M> {
    /// Starts looking at the banks of this processor.
    pub fn start_polling_machine_checks(&self) {
        if banks::count(&self.machine) != 0 {
            let next = self.machine.now_ns().saturating_add(POLL_NS);
            self.arm_timer(next, Event::PollMachineChecks);
        }
    }

    /// It is time to look at the banks of `cpu`, which executes this.
    pub(crate) fn poll_machine_checks(&self, cpu: CpuId) {
        self.collect_machine_checks(cpu, Urgency::Polled);
        self.start_polling_machine_checks();
    }

    /// Empties the banks of `cpu`, which executes this. True if there was an error that the program which ran must not
    /// go on after.
    pub fn collect_machine_checks(&self, cpu: CpuId, urgency: Urgency) -> bool {
        let machine = &self.machine;
        let found = banks::take(machine);
        if found.is_empty() {
            return false;
        }
        let status = banks::global_status(machine);
        for bank in &found {
            self.print_at(
                Level::Warning,
                format_args!("CPU{}: machine check, {bank}", cpu.0),
            );
        }
        let apic_id = machine.apic_id(cpu).unwrap_or(u32::MAX);
        let info = telemetry::record(&found, urgency, status, apic_id, machine.tsc());
        self.machine_checks.keep(urgency, info);
        self.send_global_virq(Virq::ARCH_0);
        found.iter().any(Bank::action_required)
    }
}

#[cfg(test)]
mod tests;
