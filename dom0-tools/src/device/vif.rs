//! Network cards: the nodes of both ends, and joining dom0's end to a bridge.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Kind, Paths};
use crate::config::Vif;
use crate::domain::{Code, ToolError, Toolstack};
use crate::store::{Batch, Perms, Tx, transact};
use crate::sys::netlink::Netlink;

/// How long a back end may take to make its interface.
const PATIENCE: Duration = Duration::from_secs(40);
/// The address of dom0's ends: never the lowest on a bridge, so that the bridge keeps its own.
const BACKEND_MAC: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];

/// The nodes of card `index` of `domain`.
///
/// xen-netback fails for good without `script`, and waits in state 4 for hotplug-status; it is written when the interface has
/// joined its bridge.
#[must_use]
pub fn nodes(domain: u16, index: u32, vif: &Vif) -> Batch {
    let Paths {
        frontend,
        backend,
        libxl,
    } = Paths::of(domain, Kind::Vif, index);
    let mac = vif.mac.clone().unwrap_or_default();
    let mut batch = Batch::new();
    batch.add_with(&frontend, "", &Perms::owned_by_read_by(domain, 0));
    batch.add_all(
        &frontend,
        [
            ("backend", backend.clone()),
            ("backend-id", "0".into()),
            ("state", "1".into()),
            ("handle", index.to_string()),
            ("trusted", "1".into()),
            ("mac", mac.clone()),
        ],
    );
    if let Some(mtu) = vif.mtu {
        batch.add_with(
            format!("{frontend}/mtu"),
            mtu.to_string(),
            &Perms::read_by(domain),
        );
    }

    let mut ends = vec![
        ("frontend-id", domain.to_string()),
        ("online", "1".into()),
        ("state", "1".into()),
        ("script", "/etc/xen/scripts/vif-bridge".into()),
        ("mac", mac),
        ("bridge", vif.bridge.clone().unwrap_or_default()),
        ("handle", index.to_string()),
        ("type", "vif".into()),
        ("hotplug-status", String::new()),
    ];
    let optional = [
        ("ip", vif.ip.clone()),
        ("mtu", vif.mtu.map(|mtu| mtu.to_string())),
        (
            "rate",
            vif.rate
                .map(|rate| format!("{},{}", rate.bytes, rate.microseconds)),
        ),
        ("vifname", vif.vifname.clone()),
    ];
    ends.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    batch.add_with(&backend, "", &Perms::read_by(domain));
    batch.add(format!("{backend}/frontend"), &frontend);
    batch.add_all(&backend, ends.clone());
    batch.add_with(&libxl, "", &Perms::private());
    batch.add(format!("{libxl}/frontend"), &frontend);
    batch.add(format!("{libxl}/backend"), &backend);
    batch.add_all(&libxl, ends);
    batch
}

/// Waits for dom0's interface of card `index` and joins it to the card's bridge.
///
/// # Errors
/// The interface does not appear, or the bridge refuses it.
pub fn join(tools: &Toolstack, domain: u16, index: u32, vif: &Vif) -> Result<(), ToolError> {
    let name = format!("vif{domain}.{index}");
    let netlink = Netlink::open()?;
    let deadline = Instant::now() + PATIENCE;
    let link = loop {
        if let Some(link) = netlink.index(&name)? {
            break link;
        }
        let error = format!("/local/domain/0/error/backend/vif/{domain}/{index}/error");
        if let Some(reason) = tools.store.text(&error)? {
            return Err(ToolError::new(
                Code::Other,
                format!("xen-netback refused network card {index}: {reason}"),
            ));
        }
        if Instant::now() > deadline {
            return Err(ToolError::new(
                Code::Timeout,
                format!(
                    "the back end of network card {index} does not come up: load the kernel module xen-netback (modprobe \
                     xen-netback)"
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let failed = |what: &str, error: std::io::Error| {
        ToolError::from(error).context(format!("{name} {what}"))
    };
    let bridge = vif.bridge.as_deref().unwrap_or(super::bridge::DEFAULT);
    let master = netlink
        .index(bridge)?
        .ok_or_else(|| ToolError::new(Code::NotFound, format!("bridge {bridge} has gone")))?;
    netlink
        .set_address(link, BACKEND_MAC)
        .map_err(|error| failed("does not take its address", error))?;
    if let Some(mtu) = vif.mtu {
        netlink
            .set_mtu(link, mtu)
            .map_err(|error| failed("does not take its MTU", error))?;
    }
    if let Some(new) = &vif.vifname
        && !Path::new("/sys/class/net").join(new).exists()
    {
        netlink
            .rename(link, new)
            .map_err(|error| failed(&format!("cannot be named {new}"), error))?;
    }
    netlink
        .set_master(link, master)
        .map_err(|error| failed(&format!("cannot join bridge {bridge}"), error))?;
    netlink
        .set_up(link)
        .map_err(|error| failed("cannot be switched on", error))?;
    let paths = Paths::of(domain, Kind::Vif, index);
    tools.store.write(
        Tx::NONE,
        &format!("{}/hotplug-status", paths.backend),
        b"connected",
    )?;
    Ok(())
}

/// Gives card `vif` to a running guest; its index.
///
/// # Errors
/// The back end does not take it up.
pub fn attach(tools: &Toolstack, domain: u16, vif: &Vif) -> Result<u32, ToolError> {
    let index = transact(&*tools.store, |tx| -> Result<u32, ToolError> {
        let taken = tools
            .store
            .list(tx, &format!("/libxl/{domain}/device/vif"))?
            .unwrap_or_default();
        let index = (0..)
            .find(|index: &u32| !taken.contains(&index.to_string()))
            .unwrap_or(0);
        nodes(domain, index, vif).write(&*tools.store, tx)?;
        Ok(index)
    })?;
    join(tools, domain, index, vif)?;
    Ok(index)
}
