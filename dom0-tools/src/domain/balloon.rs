//! Memory of running domains, and making room for a new one: dom0 gives what it can spare.

use std::time::{Duration, Instant};

use hypercall_abi::xen::DomId;

use super::{Code, DOM0, ToolError, Toolstack, lookup};
use crate::config::GuestConfig;
use crate::store::Tx;

/// Pages that a domain costs beyond its memory: its structures, vCPUs and grant tables.
const OVERHEAD_PAGES: u64 = 512;
/// dom0 keeps at least this much.
const DOM0_LEAST_KIB: u64 = 256 << 10;
/// How long dom0 may take to give memory.
const PATIENCE: Duration = Duration::from_secs(30);
/// A domain may have this much beyond its target, as libxl allows it.
const EXTRA_KIB: u64 = 1024;

/// Makes sure that a domain of `config` fits, and has dom0 give memory up if it does not.
///
/// # Errors
/// It does not fit all the same; the message says how much is free and who has it.
pub fn free_pages_for(tools: &Toolstack, config: &GuestConfig) -> Result<(), ToolError> {
    let needed = (config.memory_mib << 8) + OVERHEAD_PAGES;
    if free(tools)? >= needed {
        return Ok(());
    }
    let missing_kib = (needed - free(tools)?) << 2;
    let target = dom0_target(tools)?;
    if target.saturating_sub(missing_kib) < DOM0_LEAST_KIB {
        return Err(ToolError::new(Code::NoMemory, shortage(tools, config)?));
    }
    // In whole MiB, and a little more than is missing, because dom0's own tables shrink and grow with it.
    let target = (target - missing_kib - EXTRA_KIB) >> 10 << 10;
    set_target(tools, DOM0, target)?;
    let deadline = Instant::now() + PATIENCE;
    while free(tools)? < needed {
        if Instant::now() > deadline {
            return Err(ToolError::new(
                Code::NoMemory,
                format!(
                    "{}; dom0 was asked to shrink to {} MiB and did not in {} s",
                    shortage(tools, config)?,
                    target >> 10,
                    PATIENCE.as_secs()
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Free pages that nobody has claimed.
fn free(tools: &Toolstack) -> Result<u64, ToolError> {
    let info = tools.xen.physinfo()?;
    Ok((info.free_pages + info.scrub_pages).saturating_sub(info.outstanding_pages))
}

/// dom0's target in KiB: what it was told last, or what it has.
fn dom0_target(tools: &Toolstack) -> Result<u64, ToolError> {
    let told = tools
        .store
        .number(&format!("/local/domain/{DOM0}/memory/target"))?;
    let info = tools.xen.domain_info(DomId(DOM0))?;
    let has = info.map_or(0, |info| info.tot_pages << 2);
    Ok(told.map_or(has, |told: u64| told.min(has)))
}

/// What is free and who has the rest, for a message.
///
/// # Errors
/// The hypervisor's.
pub fn shortage(tools: &Toolstack, config: &GuestConfig) -> Result<String, ToolError> {
    let free = free(tools)?;
    Ok(format!(
        "{} needs {} MiB, {} MiB are free; {}; give less memory = or make a domain smaller (xeno mem-set NAME MiB)",
        config.name,
        config.memory_mib + OVERHEAD_PAGES.div_ceil(256),
        free / 256,
        holders(tools)?
    ))
}

/// Who has how much memory, largest first.
///
/// # Errors
/// The hypervisor's.
pub fn holders(tools: &Toolstack) -> Result<String, ToolError> {
    let mut domains = lookup::all(tools)?;
    domains.sort_by_key(|(info, _)| std::cmp::Reverse(info.tot_pages + info.outstanding_pages));
    let names: Vec<String> = domains
        .iter()
        .map(|(info, name)| {
            let mib = (info.tot_pages + info.outstanding_pages) / 256;
            format!("{name} has {mib}")
        })
        .collect();
    Ok(names.join(", "))
}

fn set_target(tools: &Toolstack, domain: u16, kib: u64) -> Result<(), ToolError> {
    let home = format!("/local/domain/{domain}");
    tools.store.write(
        Tx::NONE,
        &format!("{home}/memory/target"),
        kib.to_string().as_bytes(),
    )?;
    Ok(())
}

/// Asks `domain` to have `mib` MiB.
///
/// # Errors
/// More than its maximum, or less than any domain needs.
pub fn set_memory(tools: &Toolstack, domain: u16, mib: u64) -> Result<(), ToolError> {
    let home = format!("/local/domain/{domain}");
    let info = tools
        .xen
        .domain_info(DomId(domain))?
        .ok_or_else(|| ToolError::new(Code::NotFound, format!("domain {domain} does not exist")))?;
    let kib = mib << 10;
    let static_max: Option<u64> = tools.store.number(&format!("{home}/memory/static-max"))?;
    if let Some(max) = static_max
        && kib > max
    {
        return Err(ToolError::new(
            Code::Usage,
            format!(
                "domain {domain} may have {} MiB at most (maxmem), {mib} were asked for",
                max >> 10
            ),
        ));
    }
    if domain == DOM0 && kib < DOM0_LEAST_KIB {
        return Err(ToolError::new(
            Code::Usage,
            format!(
                "dom0 needs {} MiB at least, {mib} were asked for",
                DOM0_LEAST_KIB >> 10
            ),
        ));
    }
    let more = (kib >> 2).saturating_sub(info.tot_pages);
    if more > free(tools)? {
        return Err(ToolError::new(
            Code::NoMemory,
            format!(
                "domain {domain} would need {} MiB more, {} MiB are free; {}",
                more.div_ceil(256),
                free(tools)? / 256,
                holders(tools)?
            ),
        ));
    }
    let before = info.max_pages << 2;
    tools.xen.set_max_memory(DomId(domain), kib + EXTRA_KIB)?;
    if let Err(error) = set_target(tools, domain, kib) {
        tools.xen.set_max_memory(DomId(domain), before)?;
        return Err(error);
    }
    Ok(())
}

/// Sets the most memory that `domain` may ever have.
///
/// # Errors
/// Less than it has now.
pub fn set_max_memory(tools: &Toolstack, domain: u16, mib: u64) -> Result<(), ToolError> {
    let home = format!("/local/domain/{domain}");
    let target: Option<u64> = tools.store.number(&format!("{home}/memory/target"))?;
    let kib = mib << 10;
    if let Some(target) = target
        && kib < target
    {
        return Err(ToolError::new(
            Code::Usage,
            format!(
                "domain {domain} has {} MiB: make it smaller first (xeno mem-set {domain} {mib})",
                target >> 10
            ),
        ));
    }
    tools.xen.set_max_memory(DomId(domain), kib + EXTRA_KIB)?;
    tools.store.write(
        Tx::NONE,
        &format!("{home}/memory/static-max"),
        kib.to_string().as_bytes(),
    )?;
    Ok(())
}
