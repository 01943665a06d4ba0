//! The auditor: everything that keeps domains apart is recomputed from the tables themselves and compared with the books.
//!
//! * `mm/audit`: every general and type reference, what tables and descriptor pages hold, guest-writable mappings, page
//!   owners, free lists, the machine-to-physical table;
//! * `grants`: the pins of every grant against the mappings that domains have, and page-table entries for other domains'
//!   pages against the pins;
//! * `events`: both ends of every channel, virtual and physical interrupts, the maps of ports in use.
//!
//! It runs in the simulated machine's tests after every step; in the hypervisor when debug key `O` asks for it (typed, or by
//! XEN_SYSCTL_debug_keys from dom0), and with option `audit=N` after every N hypercalls. Processors are stopped for
//! it, because only then can what running vCPUs hold be looked at.

mod events;
mod grants;
mod holders;
mod stop;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

pub use stop::AuditRequests;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::audit::Holders;

/// Differences that are printed.
const MAX_LINES: usize = 32;

impl<M: Machine> Hypervisor<M> {
    /// Recounts everything. `holders` are the references that are not in page tables. One line for each difference.
    #[must_use]
    pub fn audit(&self, holders: &Holders) -> Vec<String> {
        let mut findings = self.mem.audit(&self.machine, holders);
        self.audit_grants(&findings.foreign, &mut findings.faults);
        self.audit_events(&mut findings.faults);
        findings.faults
    }

    /// Recounts everything while other processors go on: what is different only once was in motion.
    #[must_use]
    pub fn audit_in_motion(&self) -> Vec<String> {
        let mut lines = self.audit(&self.holders());
        for _ in 0..2 {
            if !lines.is_empty() {
                let again = self.audit(&self.holders());
                lines.retain(|line| again.contains(line));
            }
        }
        lines
    }

    /// Prints what a recount found.
    fn print_findings(&self, lines: &[String]) {
        for line in lines.iter().take(MAX_LINES) {
            self.print(format_args!("AUDIT FAILED: {line}"));
        }
        let domains = self.domains.all();
        let sum = |count: &dyn Fn(&crate::domain::Domain) -> u64| {
            domains
                .iter()
                .fold(0u64, |sum, domain| sum.saturating_add(count(domain)))
        };
        let pages = sum(&|domain| domain.pages.total_pages());
        let mappings = sum(&|domain| domain.grants.mappings().into());
        let ports = sum(&|domain| domain.events.lock().active().into());
        self.print(format_args!(
            "Page references: {} domains, {pages} pages, {} differences",
            domains.len(),
            lines.len(),
        ));
        self.print(format_args!(
            "Audit {}: {mappings} grant mappings, {ports} ports, {} free pages",
            if lines.is_empty() {
                "clean"
            } else {
                "not clean"
            },
            self.mem.free_pages(),
        ));
    }
}
