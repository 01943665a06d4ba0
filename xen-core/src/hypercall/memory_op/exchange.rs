//! XENMEM_exchange: pages in, other pages out, for domains that need contiguous memory or low addresses.
//!
//! One chunk at a time: as many extents as the larger of the two orders holds. The new frames are allocated first, so
//! that a request that cannot be met has touched nothing.

use alloc::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{MemoryExchange, MemoryOp};

use super::continued;
use super::reservation::{enter_m2p, set_m2p};
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hypercall::Call;
use crate::machine::Machine;
use crate::mm::AllocOptions;
use crate::num::{Mfn, Pfn};
use crate::outcome::{HypercallResult, Outcome, Stop};

/// Extents that make up one chunk, on either side.
#[derive(Clone, Copy)]
struct Chunk {
    in_shift: u32,
    out_shift: u32,
}

impl<M: Machine> Call<'_, M> {
    pub(super) fn exchange(&mut self, arg: GuestHandle<MemoryExchange>) -> HypercallResult {
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        let (old, new) = (request.r#in, request.out);
        if old.extent_order.max(new.extent_order) > self.max_order() {
            return Err(Errno::EPERM.into());
        }
        let pages = |extents: u64, order: u32| extents.checked_mul(1u64 << order);
        let equal = pages(old.nr_extents, old.extent_order)
            .is_some_and(|total| Some(total) == pages(new.nr_extents, new.extent_order));
        if old.domid != new.domid || !equal || request.nr_exchanged > old.nr_extents {
            return Err(Errno::EINVAL.into());
        }
        let target = self.target(old.domid)?;
        let options = self.allocation(&target, new.mem_flags)?;
        let larger = old.extent_order.max(new.extent_order);
        let chunk = Chunk {
            in_shift: larger - old.extent_order,
            out_shift: larger - new.extent_order,
        };
        let chunks = old.nr_extents >> chunk.in_shift;
        let mut done = request.nr_exchanged >> chunk.in_shift;
        let first = done;
        let mut result = Ok(());
        while done < chunks {
            if done != first && machine.must_yield() {
                result = Err(Stop::Preempted);
                break;
            }
            if let Err(errno) = self.exchange_chunk(&target, &request, options, chunk, done) {
                result = Err(errno.into());
                break;
            }
            done += 1;
        }
        request.nr_exchanged = if result.is_ok() {
            old.nr_extents
        } else {
            done << chunk.in_shift
        };
        machine.write(arg, &request)?;
        match result {
            Ok(()) => Ok(Outcome::Done(0)),
            Err(Stop::Preempted) => Ok(Outcome::Again([
                continued(MemoryOp::EXCHANGE, 0),
                arg.addr(),
                0,
                0,
                0,
                0,
            ])),
            Err(stop) => Err(stop),
        }
    }

    fn exchange_chunk(
        &self,
        target: &Domain,
        request: &MemoryExchange,
        options: AllocOptions,
        chunk: Chunk,
        index: u64,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let (old, new) = (&request.r#in, &request.out);
        let mut fresh = room(chunk.out_shift)?;
        let mut taken = room(chunk.in_shift + old.extent_order)?;
        let ready = self
            .allocate_chunk(request, options, chunk, &mut fresh)
            .and_then(|()| {
                let first = index << chunk.in_shift;
                for i in first..first + (1 << chunk.in_shift) {
                    let start = Mfn(hv.machine.read_at(old.extent_start, i)?);
                    for page in 0..1u64 << old.extent_order {
                        let mfn = start.offset(page);
                        hv.mem.steal(&target.pages, mfn)?;
                        taken.push(mfn);
                    }
                }
                Ok(())
            });
        if let Err(errno) = ready {
            for mfn in taken {
                hv.mem.unsteal(&target.pages, mfn);
            }
            for start in fresh {
                hv.mem.return_detached(start, new.extent_order);
            }
            return Err(errno);
        }
        for mfn in taken {
            set_m2p(&hv.machine, mfn, Pfn::INVALID);
            hv.mem.free_stolen(mfn);
        }
        let mut result = Ok(());
        for (i, start) in (index << chunk.out_shift..).zip(fresh) {
            if let Err(errno) = hv
                .mem
                .adopt_exchanged(&target.pages, start, new.extent_order)
            {
                result = Err(errno);
                continue;
            }
            // The pages are the domain's in any case; if it cannot be told, that is its own doing.
            let told = hv.machine.read_at(new.extent_start, i).and_then(|pfn| {
                for page in 0..1u64 << new.extent_order {
                    enter_m2p(hv, target.id, start.offset(page), Pfn(pfn).offset(page));
                }
                hv.machine.write_at(new.extent_start, i, &start.0)
            });
            result = result.and(told);
        }
        result
    }

    fn allocate_chunk(
        &self,
        request: &MemoryExchange,
        options: AllocOptions,
        chunk: Chunk,
        fresh: &mut Vec<Mfn>,
    ) -> Result<(), Errno> {
        let new = &request.out;
        for _ in 0..1u64 << chunk.out_shift {
            let start = self
                .hv
                .mem
                .allocate_detached(&self.hv.machine, new.extent_order, options);
            fresh.push(start.ok_or(Errno::ENOMEM)?);
        }
        Ok(())
    }
}

/// Room for `1 << shift` frame numbers. The control domain may ask for more than the heap keeps in reserve.
///
/// # Errors
/// `ENOMEM`
fn room(shift: u32) -> Result<Vec<Mfn>, Errno> {
    let mut list = Vec::new();
    list.try_reserve_exact(1usize << shift)
        .map_err(|_| Errno::ENOMEM)?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use hypercall_abi::errno::Errno;

    use super::room;

    #[test]
    fn too_long_a_list_is_an_error_not_the_end() {
        // What one chunk of the largest order holds, and what no heap has.
        assert!(room(18).is_ok_and(|list| list.capacity() >= 1 << 18));
        assert_eq!(room(60), Err(Errno::ENOMEM));
    }
}
