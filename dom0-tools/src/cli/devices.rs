//! Devices of running guests.

use clap::Args;

use super::{output, usage};
use crate::config::{Disk, Vif};
use crate::device::{self, Kind, OpenDisk};
use crate::domain::{ToolError, Toolstack, find, uuid_of};

/// Give a disk to a running guest.
#[derive(Args, Debug)]
pub struct BlockAttach {
    /// The guest's name or id
    domain: String,
    /// The disk, as in a configuration file: several words are joined by commas
    #[arg(required = true)]
    disk: Vec<String>,
}

impl BlockAttach {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let disk = Disk::parse(&self.disk.join(",")).map_err(usage)?;
        let domain = find(tools, &self.domain)?.domain.0;
        let disk = OpenDisk::open(tools, &disk)?;
        device::attach_disk(tools, domain, &disk)
    }
}

/// List a guest's disks.
#[derive(Args, Debug)]
pub struct BlockList {
    /// The guests' names or ids
    #[arg(required = true)]
    domains: Vec<String>,
}

impl BlockList {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let mut lines = Vec::new();
        for domain in &self.domains {
            lines.extend(device::blocks(tools, find(tools, domain)?.domain.0)?);
        }
        if json {
            return output::json(&lines);
        }
        output::line(&format!(
            "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}",
            "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
        ))?;
        for line in lines {
            output::line(&format!(
                "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}",
                line.vdev,
                line.backend_domain,
                // xl's column of this name holds the guest's id.
                line.frontend_domain,
                line.state,
                line.event_channel,
                line.ring_ref,
                line.backend
            ))?;
        }
        Ok(())
    }
}

/// Take a disk from a running guest.
#[derive(Args, Debug)]
pub struct BlockDetach {
    /// Do not wait for the guest to let go of it
    #[arg(short, long)]
    force: bool,
    /// The guest's name or id
    domain: String,
    /// The disk: xvda, or its number
    device: String,
}

impl BlockDetach {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        let device = device::find_block(tools, domain, &self.device)?;
        device::remove(tools, domain, Kind::Vbd, device, self.force)
    }
}

/// Give a network card to a running guest.
#[derive(Args, Debug)]
pub struct NetworkAttach {
    /// The guest's name or id
    domain: String,
    /// The card, as in a configuration file: several words are joined by commas
    card: Vec<String>,
}

impl NetworkAttach {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let vif = Vif::parse(&self.card.join(",")).map_err(usage)?;
        let info = find(tools, &self.domain)?;
        let domain = info.domain.0;
        let next = device::networks(tools, domain)?
            .iter()
            .map(|line| line.index + 1)
            .max()
            .unwrap_or(0);
        let vif = device::complete(&vif, uuid_of(&info), next)?;
        device::attach_vif(tools, domain, &vif).map(|_| ())
    }
}

/// List a guest's network cards.
#[derive(Args, Debug)]
pub struct NetworkList {
    /// The guests' names or ids
    #[arg(required = true)]
    domains: Vec<String>,
}

impl NetworkList {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let mut lines = Vec::new();
        for domain in &self.domains {
            lines.extend(device::networks(tools, find(tools, domain)?.domain.0)?);
        }
        if json {
            return output::json(&lines);
        }
        output::line(&format!(
            "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}",
            "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
        ))?;
        for line in lines {
            output::line(&format!(
                "{:<3} {:<2} {:<17} {:>6} {:>5} {:>6} {:>5}/{:<11} {:<30}",
                line.index,
                line.backend_domain,
                line.mac,
                line.handle,
                line.state,
                line.event_channel,
                line.tx_ring_ref,
                line.rx_ring_ref,
                line.backend
            ))?;
        }
        Ok(())
    }
}

/// Take a network card from a running guest.
#[derive(Args, Debug)]
pub struct NetworkDetach {
    /// Do not wait for the guest to let go of it
    #[arg(short, long)]
    force: bool,
    /// The guest's name or id
    domain: String,
    /// The card: its index or MAC address
    device: String,
}

impl NetworkDetach {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        let device = device::find_network(tools, domain, &self.device)?;
        device::remove(tools, domain, Kind::Vif, device, self.force)
    }
}
