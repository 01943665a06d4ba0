//! Switching to the FIFO format, and its pages.

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::EVTCHN_2L_NR_CHANNELS;
use hypercall_abi::event_channel::EvtchnFifoControlBlock;

use super::fifo::{ControlBlock, WORDS_PER_ARRAY_PAGE};
use super::two_level;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Mfn, PAGE_SIZE, Port, VcpuId};

impl<M: Machine> Hypervisor<M> {
    /// Registers the control block of a vCPU (EVTCHNOP_init_control); the first one switches the domain to the FIFO
    /// format, and carries over what is pending.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU; `EINVAL` for a block that does not fit in its page, is not aligned, is not in
    /// a page that the domain can write, or is not the vCPU's first.
    pub fn init_control(
        &self,
        domain: &Domain,
        vcpu: VcpuId,
        frame: Mfn,
        offset: u32,
    ) -> Result<(), Errno> {
        domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
        let room = PAGE_SIZE as u32 - size_of::<EvtchnFifoControlBlock>() as u32;
        if offset > room || !offset.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        let page = self
            .mem
            .get_writable(frame, domain.id)
            .map_err(|_| Errno::EINVAL)?;
        let block = ControlBlock {
            mfn: page.mfn(),
            first_word: offset as usize / 8,
        };
        let events = &domain.events;
        let place = events
            .prepare_vcpus(domain.max_vcpus())
            .get(vcpu.0 as usize)
            .ok_or(Errno::ENOENT)?;
        let registered = {
            let table = events.lock();
            if table.dying {
                Err(Errno::EINVAL)
            } else {
                place.queues.set_control(block).map(|()| {
                    if !events.fifo.is_active() {
                        self.enter_fifo(domain);
                    }
                })
            }
        };
        // The page is let go outside the lock if it was not taken.
        registered.map(|()| {
            let _ = page.into_raw();
        })
    }

    /// Switches to the FIFO format. The table is locked; events are raised meanwhile.
    fn enter_fifo(&self, domain: &Domain) {
        let events = &domain.events;
        events.fifo.activate();
        // Whoever raises an event holds its slot: what was raised in the old format is seen here, what comes after
        // the switch is noted by the new one. Nothing has an event word yet, so all of it is owed.
        for port in 0..events.valid_ports().min(EVTCHN_2L_NR_CHANNELS) {
            let Some(slot) = events.slot(Port(port)) else {
                continue;
            };
            let mut channel = slot.lock_second();
            let pending = two_level::clear_pending(&self.machine, domain.shared_info, Port(port));
            if channel.binding.is_usable() {
                channel.fifo.owed |= pending;
            }
        }
    }

    /// Adds the next page of event words (EVTCHNOP_expand_array), and raises what its ports are owed.
    ///
    /// # Errors
    /// `EOPNOTSUPP` outside the FIFO format, `ENOSPC` if the array is full, `EINVAL` for a page that the domain cannot
    /// write.
    pub fn expand_array(&self, domain: &Domain, frame: Mfn) -> Result<(), Errno> {
        let events = &domain.events;
        if !events.fifo.is_active() {
            return Err(Errno::EOPNOTSUPP);
        }
        if !events.fifo.has_room() {
            return Err(Errno::ENOSPC);
        }
        let page = self
            .mem
            .get_writable(frame, domain.id)
            .map_err(|_| Errno::EINVAL)?;
        let added = {
            let table = events.lock();
            // A reset may have come between (XSA-505).
            if table.dying || !events.fifo.is_active() {
                Err(Errno::EOPNOTSUPP)
            } else {
                events.fifo.add_page(page.mfn())
            }
        };
        let first = added?;
        let _ = page.into_raw();
        let last = events.valid_ports().min(first.0 + WORDS_PER_ARRAY_PAGE);
        for port in first.0..last {
            let Some(slot) = events.slot(Port(port)) else {
                continue;
            };
            let mut channel = slot.lock();
            if !channel.binding.is_usable() || !core::mem::take(&mut channel.fifo.owed) {
                continue;
            }
            let raised = self.raise(domain, Port(port), &mut channel);
            let notify = channel.notify;
            drop(channel);
            self.tell(domain, Port(port), notify, raised);
        }
        Ok(())
    }
}
