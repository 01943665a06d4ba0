//! Pages that the hypervisor keeps for a guest and the builder fills: the shared page, and the grants of the rings.
//!
//! Contract: public/xen.h (`shared_info`), public/grant_table.h (reserved references: 0 for the console, 1 for the store).

use std::mem::offset_of;

use hypercall_abi::grant_table::{
    GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE, GrantEntryV1, GrantType,
};
use hypercall_abi::memory::{MemResource, RESOURCE_GRANT_TABLE_ID_SHARED};
use hypercall_abi::xen::{DomId, SharedInfo, VcpuInfo};
use zerocopy::IntoBytes as _;

use crate::xen::{GuestMemory, PAGE, Xen, XenError};

/// Empties the shared page in frame `mfn`, with events masked on every vCPU.
///
/// # Errors
/// It cannot be mapped.
pub fn init_shared_info(xen: &dyn Xen, domain: DomId, mfn: u64) -> Result<(), XenError> {
    let page = xen.map_frames(domain, &[mfn], true)?;
    page.fill(0, PAGE as usize, 0);
    let vcpus = hypercall_abi::arch_x86::XEN_LEGACY_MAX_VCPUS;
    for vcpu in 0..vcpus {
        let at = offset_of!(SharedInfo, vcpu_info)
            + vcpu * size_of::<VcpuInfo>()
            + offset_of!(VcpuInfo, evtchn_upcall_mask);
        page.store_u8(at, 1);
    }
    Ok(())
}

/// Grants the rings of console and store, machine frames, to `backend`.
///
/// # Errors
/// The grant table cannot be mapped.
pub fn grant_rings(
    xen: &dyn Xen,
    domain: DomId,
    backend: DomId,
    console: u64,
    store: u64,
) -> Result<(), XenError> {
    let table = xen.map_resource(
        domain,
        MemResource::GRANT_TABLE,
        RESOURCE_GRANT_TABLE_ID_SHARED,
        1,
    )?;
    for (reference, mfn) in [
        (GNTTAB_RESERVED_CONSOLE, console),
        (GNTTAB_RESERVED_XENSTORE, store),
    ] {
        seed(&*table, reference as usize, backend, mfn);
    }
    Ok(())
}

fn seed(table: &dyn GuestMemory, reference: usize, backend: DomId, mfn: u64) {
    let entry = GrantEntryV1 {
        flags: GrantType::PERMIT_ACCESS.0,
        domid: backend,
        // A version 1 entry has 32 bits for the frame.
        frame: u32::try_from(mfn).unwrap_or(u32::MAX),
    };
    table.write(reference * size_of::<GrantEntryV1>(), entry.as_bytes());
}
