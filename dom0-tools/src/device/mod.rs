//! Devices of guests: their xenstore nodes, what dom0's kernel needs for its back ends, and taking them away again.
//!
//! No scripts: a disk's loop device and device number are there before the back end's nodes are; a network card's interface is
//! joined to its bridge by netlink when the back end has made it.
//!
//! Contract: docs/misc/xenstore-paths, public/io/{blkif,netif,xenbus}.h, and what Linux's xen-blkback and xen-netback read.

pub mod bridge;
pub mod console;
mod list;
mod remove;
mod resolve;
mod vbd;
mod vif;

#[cfg(test)]
mod tests;

pub use list::{BlockLine, NetworkLine, blocks, find_block, find_network, networks};
pub use remove::{remove, remove_all, remove_if_empty};
pub use resolve::OpenDisk;
pub use vbd::{attach as attach_disk, nodes as disk_nodes};
pub use vif::{attach as attach_vif, join as join_vif, nodes as vif_nodes};

use crate::config::{GuestConfig, Mac, Uuid, Vif};
use crate::domain::{ToolError, Toolstack};
use crate::store::Batch;

/// A kind of device as xenstore names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Vbd,
    /// A network card.
    Vif,
    /// A console beside the first.
    Console,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Vif => "vif",
            Self::Console => "console",
        }
    }
}

/// Where the two ends and libxl's copy of a device are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The guest's end.
    pub frontend: String,
    /// dom0's end.
    pub backend: String,
    /// What only the toolstack reads and no guest writes.
    pub libxl: String,
}

impl Paths {
    /// Of device `device` of `domain`.
    #[must_use]
    pub fn of(domain: u16, kind: Kind, device: u32) -> Self {
        let name = kind.name();
        // The first console is not among the devices.
        let frontend = match (kind, device) {
            (Kind::Console, 0) => format!("/local/domain/{domain}/console"),
            _ => format!("/local/domain/{domain}/device/{name}/{device}"),
        };
        Self {
            frontend,
            backend: format!("/local/domain/0/backend/{name}/{domain}/{device}"),
            libxl: format!("/libxl/{domain}/device/{name}/{device}"),
        }
    }
}

/// Devices that are ready to be given to a guest. Dropped before they are, they leave nothing behind.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The disks, opened.
    pub disks: Vec<OpenDisk>,
    /// The network cards, each with its MAC address and bridge.
    pub vifs: Vec<Vif>,
}

impl Prepared {
    /// Opens the disks of `config` and looks for its bridges.
    ///
    /// # Errors
    /// A disk is missing or in use, or a bridge is missing.
    pub fn new(tools: &Toolstack, config: &GuestConfig, uuid: Uuid) -> Result<Self, ToolError> {
        let disks = config
            .disks
            .iter()
            .map(|disk| OpenDisk::open(tools, disk))
            .collect::<Result<_, _>>()?;
        let vifs = config
            .vifs
            .iter()
            .enumerate()
            .map(|(index, vif)| complete(vif, uuid, index as u32))
            .collect::<Result<_, _>>()?;
        Ok(Self { disks, vifs })
    }

    /// The xenstore nodes of all devices of `domain`.
    #[must_use]
    pub fn nodes(&self, domain: u16) -> Vec<Batch> {
        let disks = self.disks.iter().map(|disk| disk_nodes(domain, disk));
        let vifs = self.vifs.iter().enumerate();
        let vifs = vifs.map(|(index, vif)| vif_nodes(domain, index as u32, vif));
        disks.chain(vifs).collect()
    }

    /// Waits until the back ends have taken the devices up, and joins network cards to their bridges.
    ///
    /// # Errors
    /// A back end does not come up.
    pub fn connect(&self, tools: &Toolstack, domain: u16) -> Result<(), ToolError> {
        for (index, vif) in self.vifs.iter().enumerate() {
            join_vif(tools, domain, index as u32, vif)?;
        }
        for disk in &self.disks {
            disk.wait_until_open(tools, domain)?;
        }
        Ok(())
    }
}

/// A network card with the MAC address and the bridge that it gets when they are not configured.
///
/// # Errors
/// The bridge is missing.
pub fn complete(vif: &Vif, uuid: Uuid, index: u32) -> Result<Vif, ToolError> {
    let mut vif = vif.clone();
    vif.mac
        .get_or_insert_with(|| Mac::of(uuid.0, index).to_string());
    match &vif.bridge {
        Some(bridge) => bridge::check(bridge)?,
        None => {
            bridge::ensure(bridge::DEFAULT)?;
            vif.bridge = Some(bridge::DEFAULT.to_owned());
        }
    }
    Ok(vif)
}
