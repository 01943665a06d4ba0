//! Grants at the end of a domain.

use alloc::sync::Arc;

use super::active::Use;
use super::maptrack::Mapping;
use super::table::Held;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Flush, Machine};
use crate::outcome::Stop;
use crate::pv::mm::flush_domain;

/// Handles that are looked at between two looks at more urgent work.
const BATCH: u32 = 64;

impl<M: Machine> Hypervisor<M> {
    /// Gives up every mapping of a domain that is being destroyed, and its grant table. No vCPU of it runs. The page
    /// references of mappings in page tables go with the tables. Call again when preempted.
    ///
    /// # Errors
    /// Preempted.
    pub fn release_grants(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        if domain.grants.mappings() != 0 {
            // No processor may use a page that its granter believes to have back.
            flush_domain(self, domain, Flush::All);
        }
        let mut since_look = 0u32;
        loop {
            let next = domain.grants.mapped.lock().give_up_next();
            let Some(mapping) = next else { break };
            if let Some(mapping) = mapping {
                self.give_up(&mapping);
            }
            since_look += 1;
            if since_look.is_multiple_of(BATCH) && self.machine.must_yield() {
                return Err(Stop::Preempted);
            }
        }
        // Mappings of this domain's pages by others live on; they hold the pages and need no table.
        let frames = domain.grants.close();
        for mfn in frames {
            self.mem.free_shared(mfn);
        }
        Ok(())
    }
    fn give_up(&self, mapping: &Mapping) {
        let write = !mapping.readonly;
        let mut given = mapping.granter.grants.given.lock();
        if let (true, Some(active)) = (mapping.device, given.active(mapping.reference)) {
            drop(Held::adopt(&self.mem, active.frame, write));
        }
        given.end(
            &self.machine,
            mapping.reference,
            Use {
                host: mapping.host,
                device: mapping.device,
                write,
            },
        );
    }
}
