//! `xeno list` and its relatives.

use clap::Args;
use hypercall_abi::domctl::DomctlGetdomaininfo;
use serde::Serialize;
use serde_json::Value;

use super::output;
use crate::domain::{State, ToolError, Toolstack, all, find, name_of, uuid_of};

/// List domains.
#[derive(Args, Debug)]
pub struct List {
    /// Print the configurations as JSON
    #[arg(short, long)]
    long: bool,
    /// Print UUIDs, reasons and labels, too
    #[arg(short, long)]
    verbose: bool,
    /// Print the pools, too
    #[arg(short, long)]
    cpupool: bool,
    /// These domains only
    domains: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    domid: u16,
    name: String,
    uuid: String,
    memory_mib: u64,
    pages: u64,
    max_memory_mib: u64,
    vcpus: u32,
    state: State,
    letters: String,
    cpu_seconds: f64,
    cpupool: u32,
}

impl Line {
    fn of(info: &DomctlGetdomaininfo, name: String) -> Self {
        let state = State::of(info);
        Self {
            domid: info.domain.0,
            name,
            uuid: uuid_of(info).to_string(),
            memory_mib: (info.tot_pages + info.outstanding_pages) / 256,
            pages: info.tot_pages + info.outstanding_pages,
            max_memory_mib: info.max_pages.saturating_mul(4) >> 10,
            vcpus: info.nr_online_vcpus,
            state,
            letters: state.letters(),
            cpu_seconds: info.cpu_time as f64 / 1e9,
            cpupool: info.cpupool,
        }
    }
}

fn chosen(
    tools: &Toolstack,
    domains: &[String],
) -> Result<Vec<(DomctlGetdomaininfo, String)>, ToolError> {
    if domains.is_empty() {
        return all(tools);
    }
    domains
        .iter()
        .map(|text| {
            let info = find(tools, text)?;
            let name = name_of(tools, info.domain.0)?;
            Ok((info, name))
        })
        .collect()
}

impl List {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let domains = chosen(tools, &self.domains)?;
        if self.long {
            let entries: Vec<Value> = domains
                .iter()
                .map(|(info, name)| long(info, name))
                .collect();
            return output::json(&entries);
        }
        let lines: Vec<(DomctlGetdomaininfo, Line)> = domains
            .into_iter()
            .map(|(info, name)| (info, Line::of(&info, name)))
            .collect();
        if json {
            let lines: Vec<&Line> = lines.iter().map(|(_, line)| line).collect();
            return output::json(&lines);
        }
        let mut header =
            "Name                                        ID   Mem VCPUs\tState\tTime(s)".to_owned();
        if self.verbose {
            header.push_str("   UUID                            Reason-Code\tSecurity Label");
        }
        if self.cpupool {
            header.push_str("         Cpupool");
        }
        output::line(&header)?;
        for (info, line) in &lines {
            let mut row = format!(
                "{:<40} {:>5} {:>5} {:>5}     {}  {:>8.1}",
                line.name, line.domid, line.memory_mib, line.vcpus, line.letters, line.cpu_seconds
            );
            if self.verbose {
                let code = info.flags >> 16 & 0xff;
                let reason = if line.state.shutdown.is_some() {
                    format!("{code:>8x}")
                } else {
                    format!("{:>8}", "-")
                };
                row.push_str(&format!(" {} {reason} {:>16}", line.uuid, "-"));
            }
            if self.cpupool {
                row.push_str(&format!("{:>16}", format!("Pool-{}", line.cpupool)));
            }
            output::line(&row)?;
        }
        Ok(())
    }
}

/// A domain with its configuration, as `xl list -l` prints it.
fn long(info: &DomctlGetdomaininfo, name: &str) -> Value {
    let id = info.domain.0;
    let uuid = uuid_of(info).to_string();
    // What libxl's file says, whoever made the domain.
    let path = format!("/var/lib/xen/userdata-d.{id}.{uuid}.libxl-json");
    let kept = std::fs::read(path).ok().and_then(|mut text| {
        while text.last() == Some(&0) {
            text.pop();
        }
        serde_json::from_slice::<Value>(&text).ok()
    });
    let config = kept.unwrap_or_else(|| {
        serde_json::json!({
            "c_info": { "name": name, "uuid": uuid },
            "b_info": { "target_memkb": info.tot_pages << 2, "max_vcpus": info.max_vcpu_id.wrapping_add(1) },
        })
    });
    serde_json::json!({ "domid": id, "config": config })
}

/// Print how much memory is claimed by domains under construction.
#[derive(Args, Debug)]
pub struct Claims {}

impl Claims {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let domains = all(tools)?;
        if json {
            let lines: Vec<Value> = domains
                .iter()
                .map(|(info, name)| {
                    serde_json::json!({ "domid": info.domain.0, "name": name, "claimed_mib": info.outstanding_pages / 256 })
                })
                .collect();
            return output::json(&lines);
        }
        output::line(
            "Name                                        ID   Mem VCPUs\tState\tTime(s)  Claimed",
        )?;
        for (info, name) in domains {
            let line = Line::of(&info, name);
            output::line(&format!(
                "{:<40} {:>5} {:>5} {:>5}     {}  {:>8.1} {:>5}",
                line.name,
                line.domid,
                line.memory_mib,
                line.vcpus,
                line.letters,
                line.cpu_seconds,
                info.outstanding_pages / 256
            ))?;
        }
        Ok(())
    }
}

/// Print the UUIDs of domains.
#[derive(Args, Debug)]
pub struct VmList {}

impl VmList {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let domains = all(tools)?;
        if json {
            let lines: Vec<Line> = domains
                .into_iter()
                .map(|(info, name)| Line::of(&info, name))
                .collect();
            return output::json(&lines);
        }
        output::line("UUID                                  ID    name")?;
        for (info, name) in domains {
            output::line(&format!("{}  {}    {name}", uuid_of(&info), info.domain.0))?;
        }
        Ok(())
    }
}
