//! Moving an interrupt from one processor to another.
//!
//! An interrupt follows the vCPU that its event channel notifies. A message or a redirection entry cannot be changed
//! at one instant, and what is under way when it is changed still arrives at the old place. Therefore:
//!
//! - The same vector is taken on the new processor if it is free there: then only the destination changes, which is
//!   one write, and no interrupt can get lost between two.
//! - Otherwise the source is masked while it is written. A level or a message with a mask bit remembers what came
//!   meanwhile. An edge does not: the domain gets one event too many rather than one too few. A level-triggered input
//!   that waits for the local APIC's EOI would never get it under another vector (82093AA, remote IRR): it is moved at
//!   its next arrival.
//! - The old place stays the interrupt's until one has come to the new place and the old processor has nothing
//!   requested there.

use core::sync::atomic::Ordering;

use super::desc::{Leaving, Source};
use super::pirq::PirqOwner;
use super::state::{Board, State};
use super::table::IrqTable;
use super::vectors::Place;
use crate::machine::CpuMask;
use crate::num::{CpuId, Pirq};

/// After this time nothing is under way to an old place, whether or not an interrupt has come to the new one.
const SETTLED_NS: u64 = 1_000_000_000;
/// An interrupt that follows a wandering vCPU is moved once in this time at most.
const FOLLOW_NS: u64 = 10_000_000;

impl State {
    /// Moves `irq` to `cpu`, if it is somewhere else and can be moved now. True if an interrupt may have got lost.
    pub(super) fn move_to(
        &mut self,
        board: &impl Board,
        irq: u32,
        cpu: CpuId,
        now_ns: u64,
    ) -> bool {
        let Some(desc) = self.descs.get_mut(&irq) else {
            return false;
        };
        let Some(from) = desc.place.filter(|place| place.cpu != cpu) else {
            return false;
        };
        if let Some(leaving) = desc.leaving {
            if now_ns.saturating_sub(leaving.since_ns) < SETTLED_NS {
                return false;
            }
            desc.leaving = None;
            self.vectors.release(leaving.place);
        }
        let Some(to) = self.vectors.claim_like(cpu, irq, from.vector) else {
            return false;
        };
        let whole = to.vector == from.vector;
        let level = desc.waits_for_eoi();
        let moved = match desc.source {
            Source::Gsi(gsi) if whole => board.redirect_gsi(gsi, cpu).is_ok(),
            Source::Gsi(gsi) if level && board.gsi_in_flight(gsi) => false,
            Source::Msi(source) if whole => {
                source.redirect(board, board.msi_message(to.vector, cpu));
                true
            }
            Source::Gsi(_) | Source::Msi(_) => desc.route(board, to),
        };
        if !moved {
            self.vectors.release(to);
            return false;
        }
        desc.place = Some(to);
        desc.leaving = Some(Leaving {
            place: from,
            since_ns: now_ns,
            settled: false,
        });
        desc.update_mask(board);
        let remembers = match desc.source {
            Source::Gsi(_) => level,
            Source::Msi(source) => source.is_maskable(),
        };
        !whole && !remembers
    }

    /// Gives up the old place of `irq` if its processor, which executes this, has nothing requested there.
    pub(super) fn try_to_settle(&mut self, board: &impl Board, irq: u32, cpu: CpuId) -> bool {
        let Some(desc) = self.descs.get_mut(&irq) else {
            return true;
        };
        let Some(Leaving {
            place,
            settled: true,
            ..
        }) = desc.leaving.filter(|leaving| leaving.place.cpu == cpu)
        else {
            return true;
        };
        if board.is_requested(place.vector) {
            return false;
        }
        desc.leaving = None;
        self.vectors.release(place);
        true
    }

    /// Gives all vectors of `irq` back: its source is silent for good.
    pub(super) fn give_up_places(&mut self, irq: u32) {
        let Some(desc) = self.descs.get_mut(&irq) else {
            return;
        };
        let old: Option<Place> = desc.leaving.take().map(|leaving| leaving.place);
        for place in desc.place.take().into_iter().chain(old) {
            self.vectors.release(place);
        }
    }
}

impl IrqTable {
    /// Sends the interrupt behind a bound PIRQ to `cpu`, unless it is shared. True if the domain must be told of an
    /// interrupt that may have got lost.
    pub fn retarget(
        &self,
        board: &impl Board,
        owner: PirqOwner,
        pirq: Pirq,
        cpu: CpuId,
        now_ns: u64,
    ) -> bool {
        let mut state = self.state.lock();
        let Some(irq) = state.pirqs(owner, &self.config).irq(pirq) else {
            return false;
        };
        let alone = state
            .descs
            .get(&irq)
            .is_some_and(|desc| desc.subscribers.len() == 1);
        alone && state.move_to(board, irq, cpu, now_ns)
    }

    /// An interrupt arrived elsewhere than where the vCPU runs that it is for: moves it there, unless it was moved a
    /// moment ago. True as in [`IrqTable::retarget`].
    pub fn follow(&self, board: &impl Board, irq: u32, cpu: CpuId, now_ns: u64) -> bool {
        let mut state = self.state.lock();
        let settled = state.descs.get(&irq).is_some_and(|desc| {
            desc.subscribers.len() == 1
                && now_ns.saturating_sub(desc.moved_ns) >= FOLLOW_NS
                && desc.place.is_some_and(|place| place.cpu != cpu)
        });
        if !settled {
            return false;
        }
        if let Some(desc) = state.descs.get_mut(&irq) {
            desc.moved_ns = now_ns;
        }
        state.move_to(board, irq, cpu, now_ns)
    }

    /// `cpu`, which executes this, gives up the places that were left, if [`Arrival::clean_on`](super::Arrival) asked
    /// for it.
    pub fn settle(&self, board: &impl Board, cpu: CpuId) {
        let Some(word) = self.unsettled.get(cpu.0 as usize / 64) else {
            return;
        };
        let bit = 1 << (cpu.0 % 64);
        // Looked at on every kick: mostly there is nothing, and then the cache line stays shared.
        if word.load(Ordering::Relaxed) & bit == 0 {
            return;
        }
        word.fetch_and(!bit, Ordering::AcqRel);
        let mut state = self.state.lock();
        let left = state.descs.iter().filter_map(|(&irq, desc)| {
            let leaving = desc.leaving?;
            (leaving.settled && leaving.place.cpu == cpu).then_some(irq)
        });
        let left: alloc::vec::Vec<u32> = left.collect();
        for irq in left {
            if !state.try_to_settle(board, irq, cpu) {
                // It arrives as soon as interrupts open, and settles then.
                word.fetch_or(bit, Ordering::AcqRel);
            }
        }
    }

    /// Notes that `cpu` has places to give up.
    pub(super) fn ask_to_settle(&self, cpu: CpuId) {
        if cpu.0 < CpuMask::CAPACITY
            && let Some(word) = self.unsettled.get(cpu.0 as usize / 64)
        {
            word.fetch_or(1 << (cpu.0 % 64), Ordering::AcqRel);
        }
    }
}
