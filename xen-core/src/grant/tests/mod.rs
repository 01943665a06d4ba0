//! Grants between two simulated guests, by hypercall.

extern crate std;

mod copy;
mod hostile;
mod map;
mod model;
mod table;

use core::sync::atomic::Ordering;

use hypercall_abi::grant_table::{
    GntStatus, GntmapFlags, GnttabMapGrantRef, GnttabOp, GnttabUnmapGrantRef, GrantFlags, GrantType,
};
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::guest::GuestAccess;
use crate::hypervisor::Hypervisor;
use crate::machine::Frames;
use crate::mm::PageType;
use crate::mm::audit::Holders;
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, SimMachine, on_cpu, world};

type World = Hypervisor<SimMachine>;

/// Page of each guest in which it puts the arguments of its calls.
const ARGUMENTS: Pfn = Pfn(0);
const PAGES: u64 = 40;
const HOST: u32 = GntmapFlags::HOST_MAP.bits();
const DEVICE: u32 = GntmapFlags::DEVICE_MAP.bits();
const READONLY: u32 = GntmapFlags::READONLY.bits();
const PTE: u32 = GntmapFlags::CONTAINS_PTE.bits();

/// A backend and a frontend.
struct Pair {
    hv: World,
    back: PvGuest,
    front: PvGuest,
}

impl Pair {
    fn new() -> Self {
        let hv = world();
        let front = PvGuest::unprivileged(&hv, 5, PAGES);
        let back = PvGuest::dom0(&hv, PAGES);
        Self { hv, back, front }
    }

    /// Writes an entry of the frontend's table as the frontend does.
    fn grant_raw(&self, reference: u32, flags: u16, grantee: DomId, frame: Mfn) {
        let table = self.front.domain.grants.frames()[reference as usize / 512];
        let word = u64::from(flags) | u64::from(grantee.0) << 16 | frame.0 << 32;
        self.hv.machine.words(table)[reference as usize % 512].store(word, Ordering::SeqCst);
    }

    fn grant(&self, reference: u32, pfn: Pfn, readonly: bool) {
        let readonly = if readonly {
            GrantFlags::READONLY.bits()
        } else {
            0
        };
        let flags = GrantType::PERMIT_ACCESS.0 | readonly;
        self.grant_raw(reference, flags, self.back.domain.id, self.front.mfn(pfn));
    }

    /// Marks of the hypervisor on an entry: reading, writing.
    fn marks(&self, reference: u32) -> (bool, bool) {
        let table = self.front.domain.grants.frames()[reference as usize / 512];
        let word = self.hv.machine.words(table)[reference as usize % 512].load(Ordering::SeqCst);
        let has = |flag: GrantFlags| word & u64::from(flag.bits()) != 0;
        (has(GrantFlags::READING), has(GrantFlags::WRITING))
    }

    fn map(&mut self, host_addr: u64, flags: u32, reference: u32) -> GnttabMapGrantRef {
        let op = GnttabMapGrantRef {
            host_addr,
            flags,
            r#ref: reference,
            dom: self.front.domain.id,
            status: GntStatus(77),
            handle: u32::MAX,
            dev_bus_addr: 0,
        };
        call(&self.hv, &mut self.back, GnttabOp::MAP_GRANT_REF, op)
    }

    fn unmap(&mut self, handle: u32, host_addr: u64, dev_bus_addr: u64) -> GntStatus {
        let op = GnttabUnmapGrantRef {
            host_addr,
            dev_bus_addr,
            handle,
            status: GntStatus(77),
            _pad: [0; 2],
        };
        call(&self.hv, &mut self.back, GnttabOp::UNMAP_GRANT_REF, op).status
    }

    /// Recounts all references; `devices` are the mappings for devices, with the right to write.
    fn audit(&self, devices: &[(Mfn, bool)]) {
        let mut holders = Holders::default();
        for guest in [&self.back, &self.front] {
            let more = guest.holders();
            holders.general.extend(more.general);
            holders.typed.extend(more.typed);
        }
        for &(frame, write) in devices {
            if write {
                holders.typed.push((frame, PageType::Writable));
            } else {
                holders.general.push(frame);
            }
        }
        let faults = self.hv.audit(&holders);
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// Issues a call with one element that must return 0; returns the element.
fn call<T>(hv: &World, guest: &mut PvGuest, cmd: GnttabOp, op: T) -> T
where
    T: FromBytes + IntoBytes + Immutable,
{
    let (result, op) = call_with(hv, guest, cmd, op, 1);
    assert_eq!(result, 0);
    op
}

fn call_with<T>(hv: &World, guest: &mut PvGuest, cmd: GnttabOp, op: T, count: u32) -> (i64, T)
where
    T: FromBytes + IntoBytes + Immutable,
{
    // The page is the guest's first: it is mapped writable by the direct map.
    guest.run_on(hv, guest.cpu);
    let addr = guest.put(hv, ARGUMENTS, &op);
    let result = guest.hypercall(
        hv,
        HypercallNr::GRANT_TABLE_OP,
        [u64::from(cmd.0), addr, u64::from(count), 0, 0, 0],
    );
    let mut out = T::new_zeroed();
    on_cpu(guest.cpu, || {
        hv.machine.read_bytes(addr, out.as_mut_bytes())
    })
    .expect("arguments");
    (result, out)
}
