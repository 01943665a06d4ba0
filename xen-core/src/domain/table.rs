//! All domains by number.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use hypercall_abi::xen::DomId;

use super::Domain;
use crate::sync::{Rank, RankedMutex};

/// The domains that exist.
#[derive(Debug)]
pub struct DomainTable {
    domains: RankedMutex<HashMap<DomId, Arc<Domain>>>,
}

impl Default for DomainTable {
    fn default() -> Self {
        Self::new()
    }
}

impl DomainTable {
    /// No domain yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            domains: RankedMutex::new(Rank::DomainTable, HashMap::new()),
        }
    }

    /// The domain with this number.
    #[must_use]
    pub fn get(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.lock().get(&id).cloned()
    }

    /// Enters a domain; false if the number is taken.
    #[must_use]
    pub fn insert(&self, domain: Arc<Domain>) -> bool {
        let mut domains = self.domains.lock();
        if domains.contains_key(&domain.id) {
            return false;
        }
        domains.insert(domain.id, domain);
        true
    }

    /// Forgets a domain.
    pub fn remove(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.lock().remove(&id)
    }

    /// All domains, by ascending number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Domain>> {
        let mut all: Vec<_> = self.domains.lock().values().cloned().collect();
        all.sort_by_key(|domain| domain.id.0);
        all
    }

    /// The hardware domain (dom0), which gets global VIRQs and the console's input.
    #[must_use]
    pub fn hardware(&self) -> Option<Arc<Domain>> {
        self.get(DomId(0))
            .filter(|domain| domain.privileges.hardware)
    }
}
