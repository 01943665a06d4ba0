//! All domains by number.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use hypercall_abi::xen::{DomId, NR_VIRQS, Virq};

use super::Domain;
use crate::sync::{Rank, RankedMutex};

/// The domains that exist.
#[derive(Debug)]
pub struct DomainTable {
    domains: RankedMutex<Entries>,
    /// Domains in the table that are dead.
    dead: AtomicU32,
    /// Who gets the global VIRQs that are not the hardware domain's: number of the domain plus one, or 0.
    virq_handlers: [AtomicU32; NR_VIRQS as usize],
}

#[derive(Debug)]
struct Entries {
    by_id: HashMap<DomId, Arc<Domain>>,
    /// The number that was given out last.
    last_id: u16,
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
            domains: RankedMutex::new(
                Rank::DomainTable,
                Entries {
                    by_id: HashMap::new(),
                    last_id: 0,
                },
            ),
            dead: AtomicU32::new(0),
            virq_handlers: [const { AtomicU32::new(0) }; NR_VIRQS as usize],
        }
    }

    /// The domain with this number.
    #[must_use]
    pub fn get(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.lock().by_id.get(&id).cloned()
    }

    /// Enters a domain; false if the number is taken.
    #[must_use]
    pub fn insert(&self, domain: Arc<Domain>) -> bool {
        let mut entries = self.domains.lock();
        if entries.by_id.contains_key(&domain.id) {
            return false;
        }
        entries.by_id.insert(domain.id, domain);
        true
    }

    /// The next number that is nobody's, going upwards from the one given out last; 0 is never given out. `None` if all
    /// are taken. Numbers come back late, so that whoever remembers one does not meet another domain under it.
    #[must_use]
    pub fn next_id(&self) -> Option<DomId> {
        let mut entries = self.domains.lock();
        let end = DomId::FIRST_RESERVED.0;
        let last = entries.last_id;
        let upwards = last.saturating_add(1)..end;
        let id = upwards
            .chain(1..=last)
            .map(DomId)
            .find(|id| !entries.by_id.contains_key(id))?;
        entries.last_id = id.0;
        Some(id)
    }

    /// Forgets a domain.
    pub fn remove(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.lock().by_id.remove(&id)
    }

    /// All domains, by ascending number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Domain>> {
        let mut all: Vec<_> = self.domains.lock().by_id.values().cloned().collect();
        all.sort_by_key(|domain| domain.id.0);
        all
    }

    /// Notes that a domain in the table has died.
    pub(super) fn note_dead(&self) {
        self.dead.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a domain in the table is dead.
    #[must_use]
    pub fn any_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed) != 0
    }

    /// The numbers of the dead domains.
    #[must_use]
    pub(super) fn dead(&self) -> Vec<DomId> {
        let entries = self.domains.lock();
        entries
            .by_id
            .values()
            .filter(|domain| domain.ending.lock().dead)
            .map(|domain| domain.id)
            .collect()
    }

    /// Takes a dead domain out that `may_go`. `None` if it stays; `Some(None)` if it stays because somebody else holds
    /// it right now. What comes out is the only reference there is.
    pub(super) fn take_dead(
        &self,
        id: DomId,
        may_go: impl Fn(&Domain) -> bool,
    ) -> Option<Option<Domain>> {
        let mut entries = self.domains.lock();
        if !entries.by_id.get(&id).is_some_and(|domain| may_go(domain)) {
            return None;
        }
        match Arc::try_unwrap(entries.by_id.remove(&id)?) {
            // Looked at again: only now can nobody refer to a page anew.
            Ok(domain) if may_go(&domain) => {
                self.dead.fetch_sub(1, Ordering::SeqCst);
                Some(Some(domain))
            }
            Ok(domain) => {
                entries.by_id.insert(id, Arc::new(domain));
                None
            }
            Err(domain) => {
                entries.by_id.insert(id, domain);
                Some(None)
            }
        }
    }

    /// Makes domain `id` the receiver of a global VIRQ.
    pub fn set_virq_handler(&self, virq: Virq, id: DomId) {
        if let Some(handler) = self.virq_handlers.get(virq.0 as usize) {
            handler.store(u32::from(id.0) + 1, Ordering::SeqCst);
        }
    }

    /// Gives the VIRQs of domain `id` back to the hardware domain.
    pub(super) fn clear_virq_handler(&self, id: DomId) {
        let has = u32::from(id.0) + 1;
        for handler in &self.virq_handlers {
            let _ = handler.compare_exchange(has, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The receiver of a global VIRQ: the hardware domain, unless another was chosen.
    #[must_use]
    pub fn virq_handler(&self, virq: Virq) -> Option<Arc<Domain>> {
        let handler = self.virq_handlers.get(virq.0 as usize)?;
        match handler.load(Ordering::SeqCst).checked_sub(1) {
            Some(id) => self.get(DomId(u16::try_from(id).ok()?)),
            None => self.hardware(),
        }
    }

    /// The hardware domain (dom0), which gets global VIRQs and the console's input.
    #[must_use]
    pub fn hardware(&self) -> Option<Arc<Domain>> {
        self.get(DomId(0))
            .filter(|domain| domain.privileges.hardware)
    }
}
