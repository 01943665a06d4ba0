//! Whose pages an MMU hypercall is about, and how such a call is preempted.
//!
//! Contract: `foreigndom` and `MMU_UPDATE_PREEMPTED` of mmu_update and mmuext_op.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::Call;
use crate::domain::Domain;
use crate::hvm::P2mKind;
use crate::machine::Machine;
use crate::mm::OwnedPages;
use crate::num::Pfn;
use crate::outcome::{HypercallResult, Outcome, Stop};
use crate::pv::mm;

/// Bit of `count` by which a continuation knows itself.
pub(super) const PREEMPTED: u32 = 1 << 31;

/// Requests between two looks at the demotions that they have left.
const SETTLE_EVERY: u32 = 64;

/// Owner of the pages that a call is about.
#[derive(Clone, Debug)]
pub(super) struct PageOwner {
    /// As it is entered in frame records.
    pub(super) id: DomId,
    /// The domain, if it is one.
    pub(super) domain: Option<Arc<Domain>>,
}

impl<M: Machine> Call<'_, M> {
    /// The domain that `raw` names as owner of pages. Whether the caller may have to do with it is
    /// [`Call::may_handle`]'s matter: some calls ask before each request only.
    ///
    /// # Errors
    /// `ESRCH` if there is none, or for the caller's own number: it is to say DOMID_SELF.
    pub(super) fn page_owner(&self, raw: u16) -> Result<PageOwner, Errno> {
        match DomId(raw) {
            DomId::SELF => Ok(PageOwner {
                id: self.domain.id,
                domain: Some(self.domain.clone()),
            }),
            DomId::IO => Ok(PageOwner {
                id: DomId::IO,
                domain: None,
            }),
            DomId::XEN => Ok(PageOwner {
                id: DomId::XEN,
                domain: None,
            }),
            id if id == self.domain.id => Err(Errno::ESRCH),
            id => {
                let domain = self.hv.domains.get(id).ok_or(Errno::ESRCH)?;
                Ok(PageOwner {
                    id,
                    domain: Some(domain),
                })
            }
        }
    }

    /// Whether the caller may use pages of `owner`: its own, or any for the control domain.
    ///
    /// # Errors
    /// `EPERM`.
    pub(super) fn may_handle(&self, owner: &PageOwner) -> Result<(), Errno> {
        let allowed = match &owner.domain {
            Some(domain) => self.hv.may_map(self.domain, domain),
            None => self.domain.privileges.control,
        };
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// The entry that maps what `value` says, where the frame is one of `owner`: a frame number of a guest that runs in
    /// hardware is translated.
    ///
    /// # Errors
    /// `EINVAL` if there is no memory, or if the entry would allow what the guest itself may not.
    pub(super) fn machine_entry(
        &self,
        owner: Option<&Arc<Domain>>,
        value: u64,
    ) -> Result<u64, Errno> {
        let Some(hvm) = owner.and_then(|owner| owner.hvm.as_ref()) else {
            return Ok(value);
        };
        if !mm::entry::is_present(value) {
            return Ok(value);
        }
        let gfn = Pfn(mm::entry::target(value).0);
        let mapped = hvm.p2m.get(&self.hv.machine, gfn).ok_or(Errno::EINVAL)?;
        let special = mapped.kind == P2mKind::Special;
        if !(mapped.kind.is_ram() || special)
            || mm::entry::is_writable(value) && !mapped.kind.is_writable()
        {
            return Err(Errno::EINVAL);
        }
        Ok(mm::entry::with_target(value, mapped.mfn))
    }

    /// Keeps the list of demotions short while request number `index` of a long call is about to be done. Each request can
    /// add one, and the list is the hypervisor's memory.
    pub(super) fn settle_at_times(&self, pages: &OwnedPages, index: u32) -> Result<(), Stop> {
        if index != 0 && index.is_multiple_of(SETTLE_EVERY) {
            self.settle(pages)
        } else {
            Ok(())
        }
    }

    /// Finishes what earlier calls have left of demotions, so that pages are what the guest thinks they are.
    pub(super) fn settle(&self, pages: &OwnedPages) -> Result<(), Stop> {
        mm::in_stretches(self.hv, |budget| mm::drain(self.hv, pages, budget))
    }

    /// Ends a call whose result is certain, after the demotions that it began.
    pub(super) fn settle_with(
        &self,
        pages: &OwnedPages,
        result: Result<u64, Errno>,
    ) -> HypercallResult {
        match (self.settle(pages), result) {
            (Err(Stop::Preempted), result) => {
                // Xen's form of "only the result is left": no requests, and the result in place of the domain.
                let value = result.unwrap_or_else(|errno| errno.to_ret().cast_unsigned());
                Ok(Outcome::Again([
                    0,
                    PREEMPTED.into(),
                    pages.id.0.into(),
                    value & u64::from(u32::MAX),
                    0,
                    0,
                ]))
            }
            (Err(stop), _) => Err(stop),
            (Ok(()), Ok(value)) => Ok(Outcome::Done(value)),
            (Ok(()), Err(errno)) => Err(errno.into()),
        }
    }

    /// Goes on with a call of which [`Call::settle_with`] has left only the demotions.
    pub(super) fn settle_again(&self, id: u64, value: u32) -> HypercallResult {
        let id = u16::try_from(id).map_err(|_| Errno::EINVAL)?;
        let domain = self.hv.domain(self.domain, DomId(id)).ok_or(Errno::ESRCH)?;
        if !self.hv.may_map(self.domain, &domain) {
            return Err(Errno::EPERM.into());
        }
        self.settle(&domain.pages)?;
        Ok(Outcome::Done(
            i64::from(value.cast_signed()).cast_unsigned(),
        ))
    }
}
