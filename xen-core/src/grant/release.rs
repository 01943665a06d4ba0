//! Grants at the end of a domain.

use alloc::sync::Arc;

use super::active::Use;
use super::table::Held;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Flush, Machine};
use crate::outcome::Stop;
use crate::pv::mm::flush_domain;

/// Mappings that are given up between two looks at more urgent work.
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
        let mut from = 0;
        let mut since_look = 0;
        loop {
            let mut mapped = domain.grants.mapped.lock();
            let Some((handle, mapping)) = mapped.close_from(from) else { break };
            let Ok(_) = mapped.take(handle) else { break };
            let mut gone = mapping.clone();
            gone.host = false;
            gone.device = false;
            mapped.give_back(handle, gone);
            drop(mapped);
            if mapping.device {
                let frame =
                    mapping.granter.grants.given.lock().active(mapping.reference).map(|active| active.frame);
                if let Some(frame) = frame {
                    drop(Held::adopt(&self.mem, frame, !mapping.readonly));
                }
            }
            let used = Use { host: mapping.host, device: mapping.device, write: !mapping.readonly };
            mapping.granter.grants.given.lock().end(&self.machine, mapping.reference, used);
            from = handle.0;
            since_look += 1;
            if since_look >= BATCH {
                since_look = 0;
                if self.machine.must_yield() {
                    return Err(Stop::Preempted);
                }
            }
        }
        // Mappings of this domain's pages by others live on; they hold the pages and need no table.
        let frames = domain.grants.given.lock().close();
        for mfn in frames {
            self.mem.free_shared(mfn);
        }
        Ok(())
    }
}
