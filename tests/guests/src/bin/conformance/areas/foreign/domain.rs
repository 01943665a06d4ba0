//! A second domain, made by raw calls: it never runs, and everything of it is reached from outside.

use pv_guest_shim::hypercall_abi::domctl::{
    DOMCTL_INTERFACE_VERSION, Domctl, DomctlCmd, DomctlCreatedomain, DomctlMaxMem, DomctlMaxVcpus,
};
use pv_guest_shim::hypercall_abi::memory::MemoryReservation;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, IntoBytes};

use crate::call::call;
use crate::pages;
use crate::report::{holds, number};

/// Frames that it gets.
pub const PAGES: u64 = 16;

/// The second domain.
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// Its frames.
    pub frames: [u64; PAGES as usize],
}

/// A domctl on `domain` whose union `fill` fills in; the result and the structure as it comes back.
pub fn domctl(cmd: DomctlCmd, domain: DomId, fill: impl FnOnce(&mut Domctl)) -> (i64, Domctl) {
    let mut op = Domctl::new_zeroed();
    op.cmd = cmd;
    op.interface_version = DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    fill(&mut op);
    let result = call(HypercallNr::DOMCTL, [op.as_mut_bytes().as_mut_ptr() as u64]);
    (result, op)
}

/// A `memory_op` of reservations.
pub fn reserve(op: u64, list: u64, extents: u64, order: u32, flags: u32, domain: DomId) -> i64 {
    let mut arg = MemoryReservation::new_zeroed();
    arg.extent_start = pv_guest_shim::hypercall_abi::guest_handle::GuestHandle::from_addr(list);
    arg.nr_extents = extents;
    arg.extent_order = order;
    arg.mem_flags = flags;
    arg.domid = domain;
    memory_op(op, &mut arg)
}

/// A `memory_op` with an argument in place.
pub fn memory_op<T: IntoBytes + zerocopy::FromBytes>(op: u64, arg: &mut T) -> i64 {
    call(
        HypercallNr::MEMORY_OP,
        [op, arg.as_mut_bytes().as_mut_ptr() as u64],
    )
}

/// Creates a domain without memory.
pub fn create() -> (i64, DomId) {
    let (result, op) = domctl(DomctlCmd::CREATEDOMAIN, DomId(0x7ff4), |op| {
        let mut create = DomctlCreatedomain::new_zeroed();
        create.max_vcpus = 1;
        create.max_evtchn_port = 1023;
        create.max_grant_frames = 8;
        create.max_maptrack_frames = 8;
        create.grant_opts = 1;
        op.u.set_createdomain(create);
    });
    (result, op.domain)
}

impl Domain {
    /// Makes it.
    pub fn new() -> Self {
        let (result, id) = create();
        number("createdomain", result, 0);
        holds("createdomain: number", id, (1..0x7ff0).contains(&id.0));
        let (result, _) = domctl(DomctlCmd::MAX_MEM, id, |op| {
            op.u.set_max_mem(DomctlMaxMem {
                max_memkb: (PAGES + 8) * 4,
            });
        });
        number("max_mem", result, 0);
        let list = pages::take();
        for pfn in 0..PAGES {
            pages::write(list + pfn * 8, pfn);
        }
        number(
            "populate for another domain",
            reserve(6, list, PAGES, 0, 0, id),
            PAGES as i64,
        );
        Self {
            id,
            frames: core::array::from_fn(|pfn| pages::read(list + pfn as u64 * 8)),
        }
    }

    /// Gives it its one vCPU.
    pub fn give_vcpu(&self) {
        let (result, _) = domctl(DomctlCmd::MAX_VCPUS, self.id, |op| {
            op.u.set_max_vcpus(DomctlMaxVcpus { max: 1 });
        });
        number("max_vcpus", result, 0);
    }

    /// Begins or goes on to destroy it.
    pub fn destroy(&self) -> i64 {
        domctl(DomctlCmd::DESTROYDOMAIN, self.id, |_| {}).0
    }

    /// Whether it can still be found.
    pub fn exists(&self) -> bool {
        let (result, op) = domctl(DomctlCmd::GETDOMAININFO, self.id, |_| {});
        result == 0 && op.domain == self.id
    }

    /// Its pages, by what is told of it.
    pub fn total_pages(&self) -> u64 {
        let (_, op) = domctl(DomctlCmd::GETDOMAININFO, self.id, |_| {});
        op.u.as_getdomaininfo().tot_pages
    }
}
