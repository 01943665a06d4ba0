//! Scenarios of the PV MMU on a simulated machine. After each, every reference is recounted.

mod descriptors;
mod destruction;
mod flushing;
mod foreign;
mod linear;
mod promotion;
mod racing;
mod random;
mod rights;
mod updates;

use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{
    DomId, HypercallNr, MmuUpdate, MmuextCmd, MmuextOp, MmuextOpArg1, MmuextOpArg2,
};

use super::entry::{ACCESSED, PRESENT, RW, USER};
use crate::hypervisor::Hypervisor;
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, SimMachine};

pub(super) type Hv = Hypervisor<SimMachine>;

/// Pages that the helpers use for arguments.
const ARGS: Pfn = Pfn(0);
const DONE: Pfn = Pfn(1);
/// First page that tests may use as they like.
pub(super) const FREE: u64 = 2;

pub(super) const SELF: u32 = DomId::SELF.0 as u32;
/// Flags of an ordinary entry above level 1.
pub(super) const TABLE: u64 = PRESENT | RW | USER | ACCESSED;

pub(super) const fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

impl PvGuest {
    /// One operation of mmuext_op.
    pub(crate) fn ext(&mut self, hv: &Hv, cmd: MmuextCmd, arg1: u64, arg2: u64) -> i64 {
        self.ext_on(hv, SELF, cmd, arg1, arg2)
    }

    pub(crate) fn ext_on(
        &mut self,
        hv: &Hv,
        foreign: u32,
        cmd: MmuextCmd,
        arg1: u64,
        arg2: u64,
    ) -> i64 {
        let op = MmuextOp {
            cmd,
            _pad: [0; 4],
            arg1: MmuextOpArg1([arg1]),
            arg2: MmuextOpArg2([arg2]),
        };
        let at = self.put(hv, ARGS, &op);
        self.hypercall(hv, HypercallNr::MMUEXT_OP, [at, 1, 0, foreign.into(), 0, 0])
    }

    /// A list of requests; returns the result and how many were done.
    pub(crate) fn updates_on(
        &mut self,
        hv: &Hv,
        foreign: u32,
        requests: &[(u64, u64)],
    ) -> (i64, u32) {
        let list: Vec<_> = requests
            .iter()
            .map(|&(ptr, val)| MmuUpdate { ptr, val })
            .collect();
        let at = self.put(hv, ARGS, &list[..]);
        let done = self.put(hv, DONE, &0xdead_u32);
        let nr = list.len() as u64;
        let result = self.hypercall(
            hv,
            HypercallNr::MMU_UPDATE,
            [at, nr, done, foreign.into(), 0, 0],
        );
        (result, self.load(hv, done).unwrap() as u32)
    }

    pub(crate) fn update(&mut self, hv: &Hv, ptr: u64, val: u64) -> i64 {
        self.updates_on(hv, SELF, &[(ptr, val)]).0
    }

    /// Maps a page of the direct map writable or read-only, with INVLPG as Linux does, or without any flush.
    pub(crate) fn remap(&mut self, hv: &Hv, pfn: Pfn, writable: bool, flush: bool) -> i64 {
        let value = self.mfn(pfn).addr() | PRESENT | if writable { RW } else { 0 };
        let flags = if flush { 2 } else { 0 };
        self.hypercall(
            hv,
            HypercallNr::UPDATE_VA_MAPPING,
            [self.va(pfn), value, flags, 0, 0, 0],
        )
    }

    /// Fills a page with entries and makes it read-only.
    pub(crate) fn write_table(&mut self, hv: &Hv, pfn: Pfn, entries: &[(usize, u64)]) {
        for &(index, value) in entries {
            self.store(hv, self.va(pfn) + index as u64 * 8, &value.to_le_bytes())
                .unwrap();
        }
        assert_eq!(self.remap(hv, pfn, false, true), 0);
    }

    /// Builds, from the pages FREE.., an L4, an L3, an L2 and an L1 table below each other; returns their PFNs. The L1 maps
    /// `leaves`.
    pub(crate) fn write_tree(&mut self, hv: &Hv, leaves: &[(usize, u64)]) -> [Pfn; 4] {
        let [l4, l3, l2, l1] = [Pfn(FREE), Pfn(FREE + 1), Pfn(FREE + 2), Pfn(FREE + 3)];
        let below = |guest: &Self, pfn| guest.mfn(pfn).addr() | TABLE;
        self.write_table(hv, l1, leaves);
        let entries = [(0, below(self, l1)), (511, below(self, l1))];
        self.write_table(hv, l2, &entries);
        let entries = [(3, below(self, l2))];
        self.write_table(hv, l3, &entries);
        let entries = [(1, below(self, l3))];
        self.write_table(hv, l4, &entries);
        [l4, l3, l2, l1]
    }
}

pub(super) fn leaf(mfn: Mfn, flags: u64) -> u64 {
    mfn.addr() | PRESENT | flags
}
