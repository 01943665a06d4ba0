//! Taking a domain away, in whatever state it is.

use std::time::{Duration, Instant};

use hypercall_abi::Errno;
use hypercall_abi::xen::DomId;

use super::{Code, DOM0, ToolError, Toolstack, libxl_json, lookup, record};
use crate::config::Uuid;
use crate::device;
use crate::store::transact;

/// How long the hypervisor may take to give a domain's last page back: somebody may have it mapped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Destroys `domain` with its devices and nodes. All steps are taken even if one fails.
///
/// # Errors
/// The first failure.
pub fn destroy(tools: &Toolstack, domain: u16) -> Result<(), ToolError> {
    if domain == DOM0 {
        return Err(ToolError::new(
            Code::Usage,
            "domain 0 cannot be destroyed: it is this system (reboot or poweroff ends it)",
        ));
    }
    let id = DomId(domain);
    let info = tools.xen.domain_info(id)?;
    let mut uuids: Vec<Uuid> = Vec::new();
    let mut first: Option<ToolError> = None;
    let mut keep = |result: Result<(), ToolError>| {
        if let Err(error) = result {
            first.get_or_insert(error);
        }
    };
    if let Some(info) = &info {
        uuids.push(lookup::uuid_of(info));
        // It shall not run while its devices go. A domain that is dying already cannot be paused, and need not.
        let _ = tools.xen.pause_domain(id);
    }
    if let Some(record) = record::of(domain)
        && let Some(uuid) = Uuid::parse(&record.uuid)
        && !uuids.contains(&uuid)
    {
        uuids.push(uuid);
    }
    keep(device::remove_all(tools, domain));
    if info.is_some() {
        let result = match tools.xen.destroy_domain(id) {
            // Gone already.
            Err(error) if error.is(Errno::ESRCH) => Ok(()),
            result => result.map_err(ToolError::from),
        };
        keep(result);
    }
    keep(remove_nodes(tools, domain, &uuids));
    if info.is_some() {
        keep(wait_until_gone(tools, id));
    }
    for uuid in &uuids {
        libxl_json::remove(domain, *uuid);
    }
    match first {
        Some(error) => Err(error),
        None => {
            for uuid in &uuids {
                record::remove(&uuid.to_string());
            }
            Ok(())
        }
    }
}

fn remove_nodes(tools: &Toolstack, domain: u16, uuids: &[Uuid]) -> Result<(), ToolError> {
    transact(&*tools.store, |tx| {
        let store = &*tools.store;
        let home = format!("/local/domain/{domain}");
        // A name of its own may have another UUID's folder: both go.
        if let Some(vm) = store.read(tx, &format!("{home}/vm"))? {
            let vm = String::from_utf8_lossy(&vm).into_owned();
            if vm.starts_with("/vm/") {
                store.remove(tx, &vm)?;
            }
        }
        for uuid in uuids {
            store.remove(tx, &format!("/vm/{uuid}"))?;
        }
        store.remove(tx, &home)?;
        store.remove(tx, &format!("/libxl/{domain}"))?;
        for kind in ["vbd", "vif", "console"] {
            // A back end that lost its guest in the middle of connecting leaves its error in the second one.
            for above in ["backend", "error/backend"] {
                let above = format!("/local/domain/0/{above}/{kind}");
                store.remove(tx, &format!("{above}/{domain}"))?;
                device::remove_if_empty(tools, tx, &above)?;
            }
        }
        for above in ["backend", "error/backend", "error"] {
            device::remove_if_empty(tools, tx, &format!("/local/domain/0/{above}"))?;
        }
        Ok(())
    })
}

fn wait_until_gone(tools: &Toolstack, domain: DomId) -> Result<(), ToolError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    while tools.xen.domain_info(domain)?.is_some() {
        if Instant::now() > deadline {
            return Err(ToolError::new(
                Code::Timeout,
                format!(
                    "domain {} is destroyed, but somebody still holds pages of it (xeno list shows it with d): a program in dom0 has \
                     mapped them",
                    domain.0
                ),
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}
