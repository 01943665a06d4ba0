//! Taking devices away: both ends close, then their nodes go.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Kind, Paths};
use crate::domain::{Code, ToolError, Toolstack};
use crate::store::{StoreError, transact};

/// How long both ends may take to close.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes device `device` of `domain` away. `force` does not wait for the guest.
///
/// # Errors
/// The guest does not let go of it.
pub fn remove(
    tools: &Toolstack,
    domain: u16,
    kind: Kind,
    device: u32,
    force: bool,
) -> Result<(), ToolError> {
    let paths = Paths::of(domain, kind, device);
    let online = begin(tools, &paths, force)?;
    if online && !wait(tools, domain, kind, device, &paths)? && !force {
        return Err(ToolError::new(
            Code::GuestRefused,
            format!(
                "domain {domain} does not let go of {} {device}: it may be mounted or in use there; -f takes it away all the same",
                kind.name()
            ),
        ));
    }
    finish(tools, domain, kind, &paths)?;
    Ok(())
}

/// Takes all devices of a domain that is being destroyed away, whatever the guest does. All close at the same time.
///
/// # Errors
/// The store's.
pub fn remove_all(tools: &Toolstack, domain: u16) -> Result<(), ToolError> {
    let mut devices = Vec::new();
    for kind in [Kind::Vbd, Kind::Vif, Kind::Console] {
        let name = kind.name();
        let mut numbers = tools
            .store
            .numbered(&format!("/local/domain/0/backend/{name}/{domain}"))?;
        // A creator that died between two nodes may have left only one of them.
        for other in tools
            .store
            .numbered(&format!("/libxl/{domain}/device/{name}"))?
        {
            if !numbers.contains(&other) {
                numbers.push(other);
            }
        }
        devices.extend(numbers.into_iter().map(|number| (kind, number)));
    }
    for (kind, device) in &devices {
        if *kind != Kind::Console {
            begin(tools, &Paths::of(domain, *kind, *device), true)?;
        }
    }
    for (kind, device) in &devices {
        let paths = Paths::of(domain, *kind, *device);
        if *kind != Kind::Console {
            wait(tools, domain, *kind, *device, &paths)?;
        }
        finish(tools, domain, *kind, &paths)?;
    }
    Ok(())
}

/// Asks the back end to close; whether there is one.
fn begin(tools: &Toolstack, paths: &Paths, force: bool) -> Result<bool, StoreError> {
    transact(&*tools.store, |tx| {
        let state = format!("{}/state", paths.backend);
        let Some(now) = tools.store.read(tx, &state)? else {
            return Ok(false);
        };
        tools
            .store
            .write(tx, &format!("{}/online", paths.backend), b"0")?;
        if now != b"6" {
            tools.store.write(tx, &state, b"5")?;
        }
        if force {
            // A guest that does not answer cannot hold it: without its end the back end closes by itself.
            tools.store.remove(tx, &paths.frontend)?;
        }
        Ok(true)
    })
}

/// Waits until the back end has closed; whether it has.
fn wait(
    tools: &Toolstack,
    domain: u16,
    kind: Kind,
    device: u32,
    paths: &Paths,
) -> Result<bool, StoreError> {
    let name = kind.name();
    let sysfs = format!("/sys/bus/xen-backend/devices/{name}-{domain}-{device}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = tools.store.text(&format!("{}/state", paths.backend))?;
        let closed = state.is_none_or(|state| state == "6");
        // The device of the kernel goes a little later, and with it its references to guest and disk.
        if closed && !Path::new(&sysfs).exists() {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(closed);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Removes the nodes of a device.
fn finish(tools: &Toolstack, domain: u16, kind: Kind, paths: &Paths) -> Result<(), StoreError> {
    let name = kind.name();
    transact(&*tools.store, |tx| {
        for path in [&paths.frontend, &paths.backend, &paths.libxl] {
            tools.store.remove(tx, path)?;
        }
        // A folder that is empty now goes, too, so that nothing tells that the domain ever was.
        let above = format!("/local/domain/0/backend/{name}/{domain}");
        remove_if_empty(tools, tx, &above)?;
        remove_if_empty(tools, tx, &format!("/local/domain/0/backend/{name}"))?;
        remove_if_empty(tools, tx, "/local/domain/0/backend")?;
        remove_if_empty(tools, tx, &format!("/libxl/{domain}/device/{name}"))?;
        Ok(())
    })
}

/// Removes the folder `path` if nothing is in it.
///
/// # Errors
/// The store's.
pub fn remove_if_empty(
    tools: &Toolstack,
    tx: crate::store::Tx,
    path: &str,
) -> Result<(), StoreError> {
    if tools
        .store
        .list(tx, path)?
        .is_some_and(|children| children.is_empty())
    {
        tools.store.remove(tx, path)?;
    }
    Ok(())
}
