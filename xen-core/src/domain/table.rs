//! All domains by number.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use hypercall_abi::xen::{DomId, NR_VIRQS, Virq};

use super::Domain;
use crate::sync::{ByDomain, Rank};

/// The domains that exist. Finding one takes no lock that another domain's calls could want.
#[derive(Debug)]
pub struct DomainTable {
    domains: ByDomain<Arc<Domain>>,
    /// The number that was given out last.
    last_id: AtomicU16,
    /// Domains in the table that are dead.
    dead: AtomicU32,
    /// Who gets the global VIRQs that are not the hardware domain's: number of the domain plus one, or 0.
    virq_handlers: [AtomicU32; NR_VIRQS as usize],
}

impl Default for DomainTable {
    fn default() -> Self {
        Self::new()
    }
}

impl DomainTable {
    /// No domain yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            domains: ByDomain::new(Rank::DomainTable),
            last_id: AtomicU16::new(0),
            dead: AtomicU32::new(0),
            virq_handlers: [const { AtomicU32::new(0) }; NR_VIRQS as usize],
        }
    }

    /// The domain with this number.
    #[must_use]
    pub fn get(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.get(id)
    }

    /// Enters a domain; false if the number is taken.
    #[must_use]
    pub fn insert(&self, domain: Arc<Domain>) -> bool {
        self.domains.insert(domain.id, domain)
    }

    /// The next number that is nobody's, going upwards from the one given out last; 0 is never given out. `None` if all
    /// are taken. Numbers come back late, so that whoever remembers one does not meet another domain under it.
    #[must_use]
    pub fn next_id(&self) -> Option<DomId> {
        let mut last = self.last_id.load(Ordering::SeqCst);
        loop {
            let upwards = last.saturating_add(1)..DomId::FIRST_RESERVED.0;
            let id = upwards
                .chain(1..=last)
                .find(|&id| !self.domains.contains(DomId(id)))?;
            // Another processor that looks for a number at the same time gets another one.
            match self
                .last_id
                .compare_exchange(last, id, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return Some(DomId(id)),
                Err(now) => last = now,
            }
        }
    }

    /// Forgets a domain.
    pub fn remove(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains.edit(id, Option::take)
    }

    /// All domains, by ascending number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Domain>> {
        self.domains.all()
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
        let all = self.all();
        all.iter()
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
        let taken = self.domains.edit(id, |entry| {
            let domain = entry.take_if(|domain| may_go(domain))?;
            match Arc::try_unwrap(domain) {
                // Looked at again: only now can nobody refer to a page anew.
                Ok(domain) if may_go(&domain) => Some(Some(domain)),
                Ok(domain) => {
                    *entry = Some(Arc::new(domain));
                    None
                }
                Err(domain) => {
                    *entry = Some(domain);
                    Some(None)
                }
            }
        });
        if let Some(Some(_)) = taken {
            self.dead.fetch_sub(1, Ordering::SeqCst);
        }
        taken
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
