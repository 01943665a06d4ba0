//! Grant pins against mappings, and page-table entries for other domains' pages against pins.
//!
//! A mapping that a domain's table of handles has must be a pin of the granter's, and the other way round. An entry for a
//! page of another domain must be covered by a pin of that page; fewer entries than pins are no fault, since a guest may
//! clear the entry of a mapping by itself and owes the unmapping (XSA-224, XSA-234: never more entries than pins).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::xen::DomId;

use crate::domain::Domain;
use crate::grant::{Active, Pins, Use};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::audit::ForeignEntries;
use crate::num::{GrantRef, Mfn};

/// The grants that are in use: by granter and reference.
type InUse = BTreeMap<(DomId, GrantRef), Active>;

impl<M: Machine> Hypervisor<M> {
    /// Compares the pins of all grants with the mappings of all domains, and these entries with the pins.
    pub(super) fn audit_grants(
        &self,
        foreign: &BTreeMap<(DomId, Mfn), ForeignEntries>,
        faults: &mut Vec<String>,
    ) {
        let domains = self.domains.all();
        let mut recorded: InUse = BTreeMap::new();
        for domain in &domains {
            enter_pins(domain, &mut recorded);
        }
        let mut counted: BTreeMap<(DomId, GrantRef), (Pins, DomId)> = BTreeMap::new();
        for domain in &domains {
            for mapping in domain.grants.all_mappings() {
                let key = (mapping.granter.id, mapping.reference);
                let used = Use {
                    host: mapping.host,
                    device: mapping.device,
                    write: !mapping.readonly,
                };
                let (pins, grantee) = counted.entry(key).or_insert((Pins::NONE, domain.id));
                if *grantee != domain.id {
                    faults.push(format!(
                        "grant {key:?} is mapped by {grantee:?} and {:?}",
                        domain.id
                    ));
                }
                *pins = pins.with(used).unwrap_or(*pins);
            }
        }
        for (key, active) in &recorded {
            let found = counted.remove(key);
            if found != Some((active.pins, active.grantee)) {
                faults.push(format!(
                    "grant {key:?} recorded {active:?}, counted {found:?}"
                ));
            }
            // Devices hold the page: it stays with the granter. What a processor's mapping holds goes with its entry.
            if active.pins.any_device() && self.mem.owner(active.frame) != Some(key.0) {
                let owner = self.mem.owner(active.frame);
                faults.push(format!(
                    "grant {key:?} of {:?} is owned by {owner:?}",
                    active.frame
                ));
            }
        }
        for (key, found) in counted {
            faults.push(format!("grant {key:?} has no pins, counted {found:?}"));
        }
        for (&(mapper, frame), entries) in foreign {
            // At its end a domain, which runs no more, gives up its grants before its page tables.
            let ends = domains
                .iter()
                .any(|domain| domain.id == mapper && domain.grants.are_given_up());
            if ends {
                continue;
            }
            // The control domain may enter pages of its own in anybody's tables.
            let given_by_control = domains.iter().any(|domain| {
                Some(domain.id) == self.mem.owner(frame) && domain.privileges.control
            });
            if given_by_control {
                continue;
            }
            let mut allowed = ForeignEntries::default();
            let pinned = recorded
                .values()
                .filter(|active| active.grantee == mapper && active.frame == frame);
            for active in pinned {
                let (read, write) = active.pins.host();
                allowed.read = allowed.read.saturating_add(read);
                allowed.write = allowed.write.saturating_add(write);
            }
            if entries.write > allowed.write || entries.read > allowed.read {
                let owner = self.mem.owner(frame);
                faults.push(format!(
                    "{mapper:?} maps {frame:?} of {owner:?} {entries:?}, granted {allowed:?}"
                ));
            }
        }
    }
}

fn enter_pins(domain: &Arc<Domain>, recorded: &mut InUse) {
    for (reference, active) in domain.grants.in_use() {
        recorded.insert((domain.id, reference), active);
    }
}
