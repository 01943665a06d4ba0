//! `mmu_update`: a list of changes to page-table entries, or to the machine-to-physical table.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{DomId, MmuUpdate, MmuUpdateCmd};

use super::Call;
use super::foreign::{PREEMPTED, PageOwner};
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::machine::{Flush, Machine};
use crate::num::{Mfn, VcpuId};
use crate::outcome::{HypercallResult, Outcome, Stop};
use crate::pv::mm;

/// Bits of `ptr` that are the command: entries are eight bytes long.
const COMMAND: u64 = 7;

/// Whose tables change, and whose pages they map.
struct Owners {
    tables: Arc<Domain>,
    pages: PageOwner,
}

impl<M: Machine> Call<'_, M> {
    pub(super) fn mmu_update(
        &mut self,
        requests: GuestHandle<MmuUpdate>,
        count: u32,
        done: GuestHandle<u32>,
        foreigndom: u32,
    ) -> HypercallResult {
        if count == PREEMPTED && requests.is_null() {
            return self.settle_again(done.addr(), foreigndom);
        }
        self.settle(&self.domain.pages)?;
        let machine = &self.hv.machine;
        let mut before = 0;
        if count & PREEMPTED != 0 && !done.is_null() {
            before = machine.read(done)?;
        }
        let count = count & !PREEMPTED;
        let tables = self.table_owner_of(foreigndom)?;
        let owners = match self.owners(tables, foreigndom) {
            Ok(owners) => owners,
            Err(errno) => {
                // ABI: from here on the guest is told how many are done, whatever goes wrong.
                if !done.is_null() {
                    let _ = machine.write(done, &before);
                }
                return Err(errno.into());
            }
        };

        let mut flush = false;
        let mut finished = 0;
        let mut result = Ok(());
        while finished < count {
            if finished > 0 && machine.must_yield() {
                result = Err(Stop::Preempted);
                break;
            }
            let one = self
                .settle_at_times(&owners.tables.pages, finished)
                .and_then(|()| Ok(machine.read_at(requests, finished.into())?))
                .and_then(|request| self.one_update(&owners, request, &mut flush));
            if let Err(stop) = one {
                result = Err(stop);
                break;
            }
            finished += 1;
        }
        if flush {
            mm::flush_domain(self.hv, &owners.tables, Flush::All);
        }
        let total: u32 = finished.wrapping_add(before);
        if !done.is_null() {
            // ABI: the requests are done; a guest that cannot be told how many hears nothing of that.
            let _ = machine.write(done, &total);
        }
        match result {
            Err(Stop::Preempted) => {
                let next = requests.offset(finished.into()).ok_or(Errno::EFAULT)?;
                let left = (count - finished) | PREEMPTED;
                Ok(Outcome::Again([
                    next,
                    left.into(),
                    done.addr(),
                    foreigndom.into(),
                    0,
                    0,
                ]))
            }
            Err(Stop::Fail(errno)) => self.settle_with(&owners.tables.pages, Err(errno)),
            Ok(()) => self.settle_with(&owners.tables.pages, Ok(0)),
        }
    }

    /// Owner of the tables: the upper half is its number plus one, and 0 is the caller.
    fn table_owner_of(&self, foreigndom: u32) -> Result<Arc<Domain>, Errno> {
        let Some(id) = (foreigndom >> 16).checked_sub(1) else {
            return Ok(self.domain.clone());
        };
        let id = DomId(u16::try_from(id).map_err(|_| Errno::ESRCH)?);
        if id == self.domain.id {
            return Ok(self.domain.clone());
        }
        self.hv.domains.get(id).ok_or(Errno::ESRCH)
    }

    /// With the owner of the mapped pages, the lower half.
    fn owners(&self, tables: Arc<Domain>, foreigndom: u32) -> Result<Owners, Errno> {
        // ABI: a domain without vCPUs has no tables yet.
        if tables.id != self.domain.id {
            tables.vcpu(VcpuId(0)).ok_or(Errno::EINVAL)?;
        }
        let pages = self.page_owner((foreigndom & 0xffff) as u16)?;
        Ok(Owners { tables, pages })
    }

    fn one_update(
        &self,
        owners: &Owners,
        request: MmuUpdate,
        flush: &mut bool,
    ) -> Result<(), Stop> {
        let hv = self.hv;
        let command = MmuUpdateCmd(request.ptr & COMMAND);
        match command {
            MmuUpdateCmd::NORMAL_PT_UPDATE
            | MmuUpdateCmd::PT_UPDATE_PRESERVE_AD
            | MmuUpdateCmd::PT_UPDATE_NO_TRANSLATE => {
                // ABI: asked for each request, so that one that is refused counts like one that fails. Device memory
                // is a matter of rights on the frame.
                if owners.pages.id != DomId::IO {
                    self.may_handle(&owners.pages)?;
                }
                if !hv.may_map(self.domain, &owners.tables) {
                    return Err(Errno::EPERM.into());
                }
                let value = if command == MmuUpdateCmd::PT_UPDATE_NO_TRANSLATE {
                    request.val
                } else {
                    self.machine_entry(owners.pages.domain.as_ref(), request.val)?
                };
                let update = mm::Update {
                    address: request.ptr & !COMMAND,
                    value,
                    page_owner: owners.pages.id,
                    preserve_ad: command == MmuUpdateCmd::PT_UPDATE_PRESERVE_AD,
                };
                let after = mm::in_stretches(hv, |budget| {
                    mm::write_entry(hv, &owners.tables, update, budget)
                })?;
                *flush |= after == mm::After::Flush;
                Ok(())
            }
            MmuUpdateCmd::MACHPHYS_UPDATE => {
                if owners.tables.id != self.domain.id {
                    return Err(Errno::EPERM.into());
                }
                let mfn = Mfn::from_addr(request.ptr);
                if owners.pages.id != DomId::IO {
                    self.may_handle(&owners.pages)?;
                }
                let _page = hv.mem.get_page(mfn, owners.pages.id).ok_or(Errno::EINVAL)?;
                let entry = hv.machine.m2p(mfn).ok_or(Errno::EINVAL)?;
                entry.store(request.val, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Errno::ENOSYS.into()),
        }
    }
}
