//! A guest that uses the FIFO format as the design document has it.

extern crate std;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::Vec;

use core::sync::atomic::Ordering;

use super::{World, take_upcall};
use crate::domain::Domain;
use crate::evtchn::event_word::{HalfWord, LINKED, MASKED, PENDING};
use crate::machine::Frames;
use crate::mm::AllocOptions;
use crate::num::{Mfn, Port, VcpuId};

const LINK: u32 = 0x1_ffff;
/// Where the control blocks are in their pages.
pub(super) const CONTROL_OFFSET: u32 = 128;

/// The guest's side.
pub(super) struct FifoGuest {
    pub domain: Arc<Domain>,
    /// Pages of event words.
    pub array: Vec<Mfn>,
    /// Page of each vCPU's control block.
    pub control: BTreeMap<u32, Mfn>,
    /// Next port of each queue that the guest is in the middle of.
    heads: BTreeMap<(u32, usize), u32>,
}

pub(super) fn page(hv: &World, domain: &Domain) -> Mfn {
    hv.mem
        .allocate(&hv.machine, &domain.pages, 0, AllocOptions::default())
        .expect("page")
}

impl FifoGuest {
    pub(super) fn new(hv: &World, domain: Arc<Domain>, vcpus: u32) -> Self {
        domain.pages.set_max_pages(1000);
        let mut guest = Self {
            domain,
            array: Vec::new(),
            control: BTreeMap::new(),
            heads: BTreeMap::new(),
        };
        for vcpu in 0..vcpus {
            let frame = page(hv, &guest.domain);
            hv.init_control(&guest.domain, VcpuId(vcpu), frame, CONTROL_OFFSET)
                .expect("control block");
            guest.control.insert(vcpu, frame);
        }
        guest
    }

    /// Adds a page of event words, with every port masked as Linux does.
    pub(super) fn expand(&mut self, hv: &World) {
        let frame = page(hv, &self.domain);
        for word in hv.machine.words(frame) {
            word.store(
                u64::from(MASKED) << 32 | u64::from(MASKED),
                Ordering::SeqCst,
            );
        }
        hv.expand_array(&self.domain, frame).expect("array page");
        self.array.push(frame);
    }

    pub(super) fn word<'a>(&self, hv: &'a World, port: Port) -> HalfWord<'a> {
        let index = port.0 as usize % 1024;
        let frame = self.array[port.0 as usize / 1024];
        HalfWord::new(&hv.machine.words(frame)[index / 2], index)
    }

    fn control<'a>(&self, hv: &'a World, vcpu: u32, index: usize) -> HalfWord<'a> {
        let at = CONTROL_OFFSET as usize / 8 + index / 2;
        HalfWord::new(&hv.machine.words(self.control[&vcpu])[at], index)
    }

    pub(super) fn mask(&self, hv: &World, port: Port) {
        self.word(hv, port).set(MASKED);
    }

    pub(super) fn unmask(&self, hv: &World, port: Port) {
        if self.word(hv, port).clear(MASKED) & PENDING != 0 {
            hv.unmask_event(&self.domain, port).expect("unmask");
        }
    }

    /// Handles what `vcpu` was told of; returns the ports in order. `handles` = the most that it handles before it
    /// goes away and comes back on the next upcall.
    pub(super) fn consume(&mut self, hv: &World, vcpu: u32) -> Vec<Port> {
        let mut handled = Vec::new();
        if !take_upcall(hv, &self.domain, vcpu) {
            return handled;
        }
        let mut ready = self.control(hv, vcpu, 0).clear(u32::MAX);
        while ready != 0 {
            let queue = ready.trailing_zeros() as usize;
            let local = self.heads.get(&(vcpu, queue)).copied().unwrap_or(0);
            let head = if local == 0 {
                self.control(hv, vcpu, 2 + queue).load()
            } else {
                local
            };
            assert_ne!(head, 0, "a queue is ready and has no head");
            let word = self.word(hv, Port(head));
            let link = word.clear(LINKED | LINK) & LINK;
            if link == 0 {
                ready &= !(1 << queue);
            }
            self.heads.insert((vcpu, queue), link);
            if word.load() & (PENDING | MASKED) == PENDING {
                word.clear(PENDING);
                handled.push(Port(head));
            }
            ready |= self.control(hv, vcpu, 0).clear(u32::MAX);
        }
        handled
    }
}
