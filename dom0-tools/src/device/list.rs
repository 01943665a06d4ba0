//! The devices of a guest, for the listing commands.

use serde::Serialize;

use super::{Kind, Paths};
use crate::config::{device_number, device_of_name};
use crate::domain::{Code, ToolError, Toolstack};

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named as the columns of block-list")]
pub struct BlockLine {
    pub vdev: u32,
    pub name: String,
    pub backend_domain: u32,
    pub frontend_domain: u16,
    pub state: i32,
    pub event_channel: i64,
    pub ring_ref: i64,
    pub backend: String,
    pub target: String,
    pub mode: String,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named as the columns of network-list")]
pub struct NetworkLine {
    pub index: u32,
    pub backend_domain: u32,
    pub mac: String,
    pub handle: u32,
    pub state: i32,
    pub event_channel: i64,
    pub tx_ring_ref: i64,
    pub rx_ring_ref: i64,
    pub backend: String,
    pub bridge: String,
}

/// The disks of `domain`.
///
/// # Errors
/// The store's.
pub fn blocks(tools: &Toolstack, domain: u16) -> Result<Vec<BlockLine>, ToolError> {
    let devices = tools
        .store
        .numbered(&format!("/libxl/{domain}/device/vbd"))?;
    devices
        .into_iter()
        .map(|device| {
            let paths = Paths::of(domain, Kind::Vbd, device);
            let front = |node: &str| tools.store.number(&format!("{}/{node}", paths.frontend));
            let text = |node: &str| tools.store.text(&format!("{}/{node}", paths.libxl));
            Ok(BlockLine {
                vdev: device,
                name: device_of_name(device),
                backend_domain: 0,
                frontend_domain: domain,
                state: front("state")?.unwrap_or(-1) as i32,
                event_channel: front("event-channel")?.unwrap_or(-1),
                ring_ref: front("ring-ref")?.unwrap_or(-1),
                backend: paths.backend.clone(),
                target: text("params")?.unwrap_or_default(),
                mode: text("mode")?.unwrap_or_default(),
            })
        })
        .collect()
}

/// The network cards of `domain`.
///
/// # Errors
/// The store's.
pub fn networks(tools: &Toolstack, domain: u16) -> Result<Vec<NetworkLine>, ToolError> {
    let devices = tools
        .store
        .numbered(&format!("/libxl/{domain}/device/vif"))?;
    devices
        .into_iter()
        .map(|device| {
            let paths = Paths::of(domain, Kind::Vif, device);
            let front = |node: &str| tools.store.number(&format!("{}/{node}", paths.frontend));
            // With several queues the first stands for all.
            let ring = |node: &str| -> Result<i64, ToolError> {
                let one = front(node)?;
                let queue = front(&format!("queue-0/{node}"))?;
                Ok(one.or(queue).unwrap_or(-1))
            };
            let text = |node: &str| tools.store.text(&format!("{}/{node}", paths.libxl));
            let shared = ring("event-channel")?;
            let event_channel = if shared == -1 {
                ring("event-channel-tx")?
            } else {
                shared
            };
            Ok(NetworkLine {
                index: device,
                backend_domain: 0,
                mac: text("mac")?.unwrap_or_default(),
                handle: device,
                state: front("state")?.unwrap_or(-1) as i32,
                event_channel,
                tx_ring_ref: ring("tx-ring-ref")?,
                rx_ring_ref: ring("rx-ring-ref")?,
                backend: paths.backend.clone(),
                bridge: text("bridge")?.unwrap_or_default(),
            })
        })
        .collect()
}

/// The disk of `domain` that `name` means.
///
/// # Errors
/// There is none.
pub fn find_block(tools: &Toolstack, domain: u16, name: &str) -> Result<u32, ToolError> {
    let lines = blocks(tools, domain)?;
    let wanted = device_number(name);
    let found = lines.iter().find(|line| Some(line.vdev) == wanted);
    found.map(|line| line.vdev).ok_or_else(|| {
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        no_device(domain, "disk", name, &names.join(", "))
    })
}

/// The network card of `domain` that `name` means: its index or MAC address.
///
/// # Errors
/// There is none.
pub fn find_network(tools: &Toolstack, domain: u16, name: &str) -> Result<u32, ToolError> {
    let lines = networks(tools, domain)?;
    let found = lines
        .iter()
        .find(|line| line.index.to_string() == name || line.mac.eq_ignore_ascii_case(name));
    found.map(|line| line.index).ok_or_else(|| {
        let names: Vec<String> = lines
            .iter()
            .map(|line| format!("{} ({})", line.index, line.mac))
            .collect();
        no_device(domain, "network card", name, &names.join(", "))
    })
}

fn no_device(domain: u16, what: &str, name: &str, there_are: &str) -> ToolError {
    let there_are = if there_are.is_empty() {
        "none".to_owned()
    } else {
        there_are.to_owned()
    };
    ToolError::new(
        Code::NotFound,
        format!("domain {domain} has no {what} {name}; it has: {there_are}"),
    )
}
