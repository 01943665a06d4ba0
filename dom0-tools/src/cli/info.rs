//! The machine and the hypervisor.

use clap::Args;
use hypercall_abi::domctl::SchedulerId;
use hypercall_abi::sysctl::{Physcap, SysctlPhysinfo};
use serde_json::{Map, Value};

use super::output;
use crate::domain::{Code, ToolError, Toolstack};

/// Tell about the machine and the hypervisor.
#[derive(Args, Debug)]
pub struct Info {
    /// Print the nodes of memory, too
    #[arg(short, long)]
    numa: bool,
    /// Print this value only
    key: Option<String>,
}

impl Info {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let values = values(tools)?;
        if let Some(key) = &self.key {
            let found = values.iter().find(|(name, _)| name == key);
            let (_, value) = found.ok_or_else(|| {
                let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
                ToolError::new(
                    Code::NotFound,
                    format!("there is no value {key}; there are: {}", names.join(" ")),
                )
            })?;
            return output::line(&text(value));
        }
        if json {
            let mut map: Map<String, Value> = values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            // To the page, which xl's keys do not tell.
            map.insert(
                "free_pages".to_owned(),
                free_pages(&tools.xen.physinfo()?).into(),
            );
            return output::json(&map);
        }
        for (name, value) in &values {
            output::line(&format!("{name:<23}: {}", text(value)))?;
            if self.numa && *name == "free_cpus" {
                self.print_nodes(tools)?;
            }
        }
        Ok(())
    }

    fn print_nodes(&self, tools: &Toolstack) -> Result<(), ToolError> {
        output::line("numa_info              :")?;
        output::line("node:    memsize    memfree")?;
        for (index, node) in tools.xen.nodes()?.iter().enumerate() {
            output::line(&format!(
                "{index:>4}:    {:>6}     {:>6}",
                node.memsize >> 20,
                node.memfree >> 20
            ))?;
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Pages that a new domain can have.
fn free_pages(info: &SysctlPhysinfo) -> u64 {
    (info.free_pages + info.scrub_pages).saturating_sub(info.outstanding_pages)
}

fn values(tools: &Toolstack) -> Result<Vec<(&'static str, Value)>, ToolError> {
    let info = tools.xen.physinfo()?;
    let version = tools.xen.version()?;
    let scheduler = tools.xen.scheduler()?;
    let (freed, used) = tools.xen.sharing();
    let cpus = info.max_cpu_id + 1;
    let free_cpus = tools
        .xen
        .free_cpus(cpus)
        .map_or(0, |set| set.iter().count());
    let mib = |pages: u64| Value::from(pages / 256);
    let hw_caps: Vec<String> = info
        .hw_cap
        .iter()
        .map(|word| format!("{word:08x}"))
        .collect();
    let free = free_pages(&info);
    let text = |text: &str| Value::from(text.to_owned());
    Ok(vec![
        ("host", file("/proc/sys/kernel/hostname").into()),
        ("release", file("/proc/sys/kernel/osrelease").into()),
        ("version", file("/proc/sys/kernel/version").into()),
        ("machine", "x86_64".into()),
        ("nr_cpus", info.nr_cpus.into()),
        ("max_cpu_id", info.max_cpu_id.into()),
        ("nr_nodes", info.nr_nodes.into()),
        ("cores_per_socket", info.cores_per_socket.into()),
        ("threads_per_core", info.threads_per_core.into()),
        (
            "cpu_mhz",
            format!("{}.{:03}", info.cpu_khz / 1000, info.cpu_khz % 1000).into(),
        ),
        ("hw_caps", hw_caps.join(":").into()),
        ("virt_caps", virt_caps(info.capabilities).into()),
        ("total_memory", mib(info.total_pages)),
        ("free_memory", mib(free)),
        ("sharing_freed_memory", mib(freed)),
        ("sharing_used_memory", mib(used)),
        ("outstanding_claims", mib(info.outstanding_pages)),
        ("free_cpus", free_cpus.into()),
        ("xen_major", version.major.into()),
        ("xen_minor", version.minor.into()),
        ("xen_extra", text(&version.extra)),
        (
            "xen_version",
            format!("{}.{}{}", version.major, version.minor, version.extra).into(),
        ),
        ("xen_caps", text(&version.capabilities)),
        ("xen_scheduler", scheduler_name(scheduler).into()),
        ("xen_pagesize", version.page_size.into()),
        (
            "platform_params",
            format!("virt_start={:#x}", version.virt_start).into(),
        ),
        ("xen_changeset", text(&version.changeset)),
        ("xen_commandline", text(&version.commandline)),
        ("cc_compiler", text(&version.compiler)),
        ("cc_compile_by", text(&version.compile_by)),
        ("cc_compile_domain", text(&version.compile_domain)),
        ("cc_compile_date", text(&version.compile_date)),
        ("build_id", text(&version.build_id)),
        ("xend_config_format", 4.into()),
    ])
}

/// The capabilities in xl's words and order.
fn virt_caps(capabilities: u32) -> String {
    let capabilities = Physcap::from_bits_retain(capabilities);
    let names = [
        (Physcap::PV, "pv"),
        (Physcap::HVM, "hvm"),
        (Physcap::HVM | Physcap::DIRECTIO, "hvm_directio"),
        (Physcap::PV | Physcap::DIRECTIO, "pv_directio"),
        (Physcap::HAP, "hap"),
        (Physcap::SHADOW, "shadow"),
        (Physcap::IOMMU_HAP_PT_SHARE, "iommu_hap_pt_share"),
        (Physcap::VMTRACE, "vmtrace"),
        (Physcap::VPMU, "vpmu"),
        (Physcap::GNTTAB_V1, "gnttab-v1"),
        (Physcap::GNTTAB_V2, "gnttab-v2"),
    ];
    let names = names
        .iter()
        .filter(|(bits, _)| capabilities.contains(*bits));
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// A scheduler's name.
pub fn scheduler_name(scheduler: SchedulerId) -> &'static str {
    match scheduler {
        SchedulerId::CREDIT => "credit",
        SchedulerId::CREDIT2 => "credit2",
        SchedulerId::ARINC653 => "arinc653",
        SchedulerId::RTDS => "rtds",
        SchedulerId::NULL => "null",
        _ => "unknown",
    }
}

/// Print the hypervisor's messages.
#[derive(Args, Debug)]
pub struct Dmesg {
    /// Forget them afterwards
    #[arg(short, long)]
    clear: bool,
}

impl Dmesg {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let bytes = tools.xen.console_ring(self.clear)?;
        if json {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            return output::json(&lines);
        }
        output::raw(&bytes)
    }
}

/// Press keys of the hypervisor's console.
#[derive(Args, Debug)]
pub struct DebugKeys {
    /// The keys, such as h for help
    keys: String,
}

impl DebugKeys {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        Ok(tools.xen.debug_keys(&self.keys)?)
    }
}
