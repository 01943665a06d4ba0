//! memory_op as guests and toolstacks use it.

mod exchange;
mod queries;
mod reservations;

use core::sync::atomic::Ordering;

use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{MemoryOp as Op, MemoryReservation};
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::hypervisor::Hypervisor;
use crate::machine::{Frames, GuestMemory};
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, SimMachine, on_cpu};

type Hv = Hypervisor<SimMachine>;

/// Pages for the argument and for lists.
const ARG: Pfn = Pfn(0);
const LIST: Pfn = Pfn(1);
const LIST2: Pfn = Pfn(2);

const fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

impl PvGuest {
    fn memory<T: IntoBytes + Immutable>(&mut self, hv: &Hv, op: Op, arg: &T) -> i64 {
        let at = self.put(hv, ARG, arg);
        self.hypercall(hv, HypercallNr::MEMORY_OP, [op.0.into(), at, 0, 0, 0, 0])
    }

    /// The argument as the call left it.
    fn answer<T: FromBytes + IntoBytes>(&self, hv: &Hv) -> T {
        let mut value = T::new_zeroed();
        on_cpu(self.cpu, || {
            hv.machine
                .copy_from_guest(self.va(ARG), value.as_mut_bytes())
        })
        .unwrap();
        value
    }

    fn list(&self, hv: &Hv, pfn: Pfn, values: &[u64]) -> GuestHandle<u64> {
        GuestHandle::from_addr(self.put(hv, pfn, values))
    }

    fn read_list(&self, hv: &Hv, pfn: Pfn, len: u64) -> Vec<u64> {
        (0..len)
            .map(|i| self.load(hv, self.va(pfn) + i * 8).unwrap())
            .collect()
    }

    fn unmap(&mut self, hv: &Hv, pfn: Pfn) {
        let args = [self.va(pfn), 0, 0, 0, 0, 0];
        assert_eq!(self.hypercall(hv, HypercallNr::UPDATE_VA_MAPPING, args), 0);
    }
}

fn reservation(list: GuestHandle<u64>, nr_extents: u64, extent_order: u32) -> MemoryReservation {
    MemoryReservation {
        extent_start: list,
        nr_extents,
        extent_order,
        mem_flags: 0,
        domid: DomId::SELF,
        _pad: [0; 6],
    }
}

fn m2p(hv: &Hv, mfn: u64) -> u64 {
    hv.machine.m2p(Mfn(mfn)).unwrap().load(Ordering::Relaxed)
}
