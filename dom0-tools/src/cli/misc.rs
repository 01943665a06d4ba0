//! Names, ids, time, keys, and dom0's own set-up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use hypercall_abi::domctl::SendTrigger;
use hypercall_abi::xen::DomId;
use serde_json::json;

use super::{output, usage};
use crate::domain::{self, Code, ToolError, Toolstack, all, find, name_of};
use crate::store::{Batch, transact};

/// Print the id of a domain.
#[derive(Args, Debug)]
pub struct Domid {
    /// The domain's name
    name: String,
}

impl Domid {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let domains = all(tools)?;
        let found = domains.iter().find(|(_, name)| *name == self.name);
        let (info, _) = found.ok_or_else(|| {
            ToolError::new(
                Code::NotFound,
                format!("there is no domain with the name {}", self.name),
            )
        })?;
        if json {
            return output::json(&info.domain.0);
        }
        output::line(&info.domain.0.to_string())
    }
}

/// Print the name of a domain.
#[derive(Args, Debug)]
pub struct Domname {
    /// The domain's id
    id: u16,
}

impl Domname {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        find(tools, &self.id.to_string())?;
        let name = name_of(tools, self.id)?;
        if json {
            return output::json(&name);
        }
        output::line(&name)
    }
}

/// Give a domain another name.
#[derive(Args, Debug)]
pub struct Rename {
    /// The domain's name or id
    domain: String,
    /// The new name
    name: String,
}

impl Rename {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        domain::rename(tools, domain, &self.name)
    }
}

/// Print how long domains have been running.
#[derive(Args, Debug)]
pub struct Uptime {
    /// With the time of day and the hypervisor's host
    #[arg(short, long)]
    short: bool,
    /// These domains only
    domains: Vec<String>,
}

impl Uptime {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let chosen: Vec<u16> = if self.domains.is_empty() {
            all(tools)?.iter().map(|(info, _)| info.domain.0).collect()
        } else {
            self.domains
                .iter()
                .map(|domain| Ok(find(tools, domain)?.domain.0))
                .collect::<Result<_, ToolError>>()?
        };
        let mut lines = Vec::new();
        for domain in chosen {
            lines.push((name_of(tools, domain)?, domain, seconds(tools, domain)?));
        }
        if json {
            let lines: Vec<_> = lines
                .iter()
                .map(|(name, domid, seconds)| json!({ "name": name, "domid": domid, "seconds": seconds }))
                .collect();
            return output::json(&lines);
        }
        output::line(&format!("{:<33} {:>4} {}", "Name", "ID", "Uptime"))?;
        for (name, domain, seconds) in lines {
            output::line(&format!("{name:<33} {domain:>4} {}", written(seconds)))?;
        }
        Ok(())
    }
}

/// Seconds since `domain` was made.
fn seconds(tools: &Toolstack, domain: u16) -> Result<u64, ToolError> {
    if domain == 0 {
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let whole = uptime.split(['.', ' ']).next().unwrap_or_default();
        return Ok(whole.parse().unwrap_or(0));
    }
    let vm = tools.store.text(&format!("/local/domain/{domain}/vm"))?;
    let start: Option<f64> = match vm {
        Some(vm) => tools.store.number(&format!("{vm}/start_time"))?,
        None => None,
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64();
    Ok(start.map_or(0.0, |start| now - start).max(0.0) as u64)
}

/// As xl writes it: days if there are any, then hours, minutes and seconds.
fn written(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:>2}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

/// Send a system request key to a guest.
#[derive(Args, Debug)]
pub struct Sysrq {
    /// The guest's name or id
    domain: String,
    /// The key, such as h for help
    key: char,
}

impl Sysrq {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        domain::sysrq(tools, domain, self.key)
    }
}

/// Send an NMI or another trigger to a guest.
#[derive(Args, Debug)]
pub struct Trigger {
    /// The guest's name or id
    domain: String,
    /// nmi, reset, init, power or sleep
    trigger: String,
    /// To this vCPU
    #[arg(default_value_t = 0)]
    vcpu: u32,
}

impl Trigger {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let trigger = match self.trigger.as_str() {
            "nmi" => SendTrigger::NMI,
            "reset" => SendTrigger::RESET,
            "init" => SendTrigger::INIT,
            "power" => SendTrigger::POWER,
            "sleep" => SendTrigger::SLEEP,
            other => {
                return Err(usage(format!(
                    "there is no trigger {other}: expected nmi, reset, init, power or sleep"
                )));
            }
        };
        let domain = find(tools, &self.domain)?.domain;
        Ok(tools.xen.send_trigger(domain, trigger, self.vcpu)?)
    }
}

/// dom0's own nodes in xenstore: its id, name and memory, and the pool.
pub fn init_dom0(tools: &Toolstack) -> Result<(), ToolError> {
    let info = tools.xen.domain_info(DomId(0))?;
    let pages = info.map_or(0, |info| info.tot_pages);
    let target = (pages << 2).to_string();
    transact(&*tools.store, |tx| -> Result<(), ToolError> {
        let mut batch = Batch::new();
        batch.add("/local/domain/0/domid", "0");
        batch.add("/local/domain/0/name", "Domain-0");
        batch.add("/local/pool/0/name", "Pool-0");
        // The folders of guests are there from the start, so that the first guest leaves nothing new behind.
        batch.add("/vm", "");
        batch.add("/libxl", "");
        let known = tools.store.read(tx, "/local/domain/0/memory/target")?;
        if known.is_none() {
            batch.add("/local/domain/0/memory/target", &target);
            batch.add("/local/domain/0/memory/static-max", &target);
        }
        Ok(batch.write(&*tools.store, tx)?)
    })?;
    std::fs::create_dir_all("/var/lib/xen")?;
    std::fs::create_dir_all("/var/log/xen/console")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times() {
        assert_eq!(super::written(59), " 0:00:59");
        assert_eq!(super::written(86400 + 3661), "1 day,  1:01:01");
        assert_eq!(super::written(2 * 86400), "2 days,  0:00:00");
    }
}
