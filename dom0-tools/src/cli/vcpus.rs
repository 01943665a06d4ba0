//! Virtual processors and their share of the real ones.

use clap::Args;
use hypercall_abi::domctl::SchedulerId;
use hypercall_abi::xen::DomId;
use serde_json::json;

use super::{output, usage};
use crate::config::parse_cpu_list;
use crate::domain::{self, ToolError, Toolstack, VcpuLine, all, find, name_of, vcpu_lines};
use crate::xen::domctl::CpuSet;

/// List virtual processors.
#[derive(Args, Debug)]
pub struct VcpuList {
    /// These domains only
    domains: Vec<String>,
}

impl VcpuList {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let domains = if self.domains.is_empty() {
            all(tools)?
        } else {
            self.domains
                .iter()
                .map(|text| {
                    let info = find(tools, text)?;
                    let name = name_of(tools, info.domain.0)?;
                    Ok((info, name))
                })
                .collect::<Result<_, ToolError>>()?
        };
        let cpus = tools.xen.physinfo()?.max_cpu_id + 1;
        let mut found = Vec::new();
        for (info, name) in domains {
            let id = info.domain.0;
            for line in vcpu_lines(tools, id, info.max_vcpu_id, cpus)? {
                found.push((name.clone(), id, line));
            }
        }
        if json {
            let lines: Vec<_> = found
                .iter()
                .map(|(name, domid, line)| json!({ "name": name, "domid": domid, "vcpu": line }))
                .collect();
            return output::json(&lines);
        }
        output::line(&format!(
            "{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} {}",
            "Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity (Hard / Soft)"
        ))?;
        for (name, id, line) in &found {
            output::line(&row(name, *id, line))?;
        }
        Ok(())
    }
}

fn row(name: &str, id: u16, line: &VcpuLine) -> String {
    let place = if line.online {
        let running = if line.running { 'r' } else { '-' };
        let blocked = if line.blocked { 'b' } else { '-' };
        format!("{:>5} {running:>3}{blocked}- ", line.cpu)
    } else {
        format!("{:>5} {:>3}{}p ", '-', '-', '-')
    };
    format!(
        "{name:<32} {id:>5} {:>5} {place} {:>9.1} {} / {}",
        line.vcpu,
        line.nanoseconds as f64 / 1e9,
        line.hard_affinity,
        line.soft_affinity
    )
}

/// Set how many virtual processors a guest has online.
#[derive(Args, Debug)]
pub struct VcpuSet {
    /// The guest's name or id
    domain: String,
    /// How many
    count: u32,
    /// Accepted for compatibility
    #[arg(short, long, hide = true)]
    ignore_host: bool,
}

impl VcpuSet {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        domain::set_online(tools, domain, self.count)
    }
}

/// Set where virtual processors may run.
#[derive(Args, Debug)]
pub struct VcpuPin {
    /// The domain's name or id
    domain: String,
    /// The vCPU, or all
    vcpu: String,
    /// Processors that it may run on; - leaves them as they are
    hard: String,
    /// Processors that it prefers; - leaves them as they are
    soft: Option<String>,
}

impl VcpuPin {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let vcpu = match self.vcpu.as_str() {
            "all" => None,
            number => Some(number.parse().map_err(|_| {
                usage(format!("\"{number}\" is no vCPU: expected a number or all"))
            })?),
        };
        let cpus = tools.xen.physinfo()?.max_cpu_id + 1;
        let set = |text: &str| -> Result<Option<CpuSet>, ToolError> {
            match text {
                "-" => Ok(None),
                text => parse_cpu_list(text, cpus)
                    .map(Some)
                    .map_err(|error| usage(error.to_string())),
            }
        };
        let hard = set(&self.hard)?;
        let soft = set(self.soft.as_deref().unwrap_or("-"))?;
        let domain = find(tools, &self.domain)?.domain.0;
        domain::pin(tools, domain, vcpu, hard.as_ref(), soft.as_ref())
    }
}

/// Print or set shares of processor time under credit2.
#[derive(Args, Debug)]
pub struct Sched {
    /// This domain only
    #[arg(short, long)]
    domain: Option<String>,
    /// Set its weight
    #[arg(short, long, requires = "domain")]
    weight: Option<u16>,
    /// Set its cap, percent of one processor
    #[arg(short, long, requires = "domain")]
    cap: Option<u16>,
}

impl Sched {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let scheduler = SchedulerId::CREDIT2;
        let domains = match &self.domain {
            Some(text) => {
                let info = find(tools, text)?;
                vec![(info, name_of(tools, info.domain.0)?)]
            }
            None => all(tools)?,
        };
        if self.weight.is_some() || self.cap.is_some() {
            for (info, _) in &domains {
                let mut params = tools.xen.sched_params(info.domain, scheduler)?;
                params.weight = self.weight.unwrap_or(params.weight);
                params.cap = self.cap.unwrap_or(params.cap);
                tools.xen.set_sched_params(info.domain, scheduler, params)?;
            }
            return Ok(());
        }
        let mut lines = Vec::new();
        for (info, name) in domains {
            let params = tools.xen.sched_params(info.domain, scheduler)?;
            lines.push((name, info.domain, params));
        }
        if json {
            let lines: Vec<_> = lines
                .iter()
                .map(|(name, DomId(domid), params)| json!({ "name": name, "domid": domid, "weight": params.weight, "cap": params.cap }))
                .collect();
            return output::json(&lines);
        }
        output::line(&format!(
            "{:<33} {:>4} {:>6} {:>4}",
            "Name", "ID", "Weight", "Cap"
        ))?;
        for (name, DomId(id), params) in lines {
            output::line(&format!(
                "{name:<33} {id:>4} {:>6} {:>4}",
                params.weight, params.cap
            ))?;
        }
        Ok(())
    }
}
