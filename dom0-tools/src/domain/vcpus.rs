//! Virtual processors: what they do, where they run, how many are online.

use hypercall_abi::xen::DomId;
use serde::Serialize;

use super::{Code, ToolError, Toolstack};
use crate::store::transact;
use crate::xen::domctl::CpuSet;

/// A vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named as the columns of vcpu-list")]
pub struct VcpuLine {
    pub vcpu: u32,
    pub cpu: u32,
    pub online: bool,
    pub blocked: bool,
    pub running: bool,
    pub nanoseconds: u64,
    pub hard_affinity: String,
    pub soft_affinity: String,
}

/// The vCPUs of `domain`.
///
/// # Errors
/// No such domain.
pub fn vcpu_lines(
    tools: &Toolstack,
    domain: u16,
    max_vcpu_id: u32,
    cpus: u32,
) -> Result<Vec<VcpuLine>, ToolError> {
    let id = DomId(domain);
    let mut lines = Vec::new();
    for vcpu in 0..max_vcpu_id.saturating_add(1) {
        let info = tools.xen.vcpu_info(id, vcpu)?;
        let (hard, soft) = tools.xen.vcpu_affinity(id, vcpu, cpus)?;
        lines.push(VcpuLine {
            vcpu,
            cpu: info.cpu,
            online: info.online != 0,
            blocked: info.blocked != 0,
            running: info.running != 0,
            nanoseconds: info.cpu_time,
            hard_affinity: ranges(&hard, cpus),
            soft_affinity: ranges(&soft, cpus),
        });
    }
    Ok(lines)
}

/// A set as people write it: `all`, `0-2,4`.
#[must_use]
pub fn ranges(set: &CpuSet, cpus: u32) -> String {
    if (0..cpus).all(|cpu| set.contains(cpu)) {
        return "all".into();
    }
    let mut parts: Vec<String> = Vec::new();
    let mut cpu = 0;
    while cpu < cpus {
        if !set.contains(cpu) {
            cpu += 1;
            continue;
        }
        let first = cpu;
        while cpu + 1 < cpus && set.contains(cpu + 1) {
            cpu += 1;
        }
        parts.push(if first == cpu {
            first.to_string()
        } else {
            format!("{first}-{cpu}")
        });
        cpu += 1;
    }
    if parts.is_empty() {
        return "none".into();
    }
    parts.join(",")
}

/// Sets where a vCPU, or every one, may run and prefers to.
///
/// # Errors
/// No such vCPU.
pub fn pin(
    tools: &Toolstack,
    domain: u16,
    vcpu: Option<u32>,
    hard: Option<&CpuSet>,
    soft: Option<&CpuSet>,
) -> Result<(), ToolError> {
    let id = DomId(domain);
    let info = tools
        .xen
        .domain_info(id)?
        .ok_or_else(|| ToolError::new(Code::NotFound, format!("domain {domain} does not exist")))?;
    let vcpus = match vcpu {
        Some(vcpu) if vcpu > info.max_vcpu_id => {
            return Err(ToolError::new(
                Code::NotFound,
                format!(
                    "domain {domain} has no vCPU {vcpu}: the highest is {}",
                    info.max_vcpu_id
                ),
            ));
        }
        Some(vcpu) => vcpu..=vcpu,
        None => 0..=info.max_vcpu_id,
    };
    for vcpu in vcpus {
        tools.xen.set_vcpu_affinity(id, vcpu, hard, soft)?;
    }
    Ok(())
}

/// Asks `domain` to have the first `count` of its vCPUs online.
///
/// # Errors
/// It has fewer.
pub fn set_online(tools: &Toolstack, domain: u16, count: u32) -> Result<(), ToolError> {
    let info = tools
        .xen
        .domain_info(DomId(domain))?
        .ok_or_else(|| ToolError::new(Code::NotFound, format!("domain {domain} does not exist")))?;
    let max = info.max_vcpu_id.wrapping_add(1);
    if count == 0 || count > max {
        return Err(ToolError::new(
            Code::Usage,
            format!("domain {domain} can have 1 to {max} vCPUs (maxvcpus), {count} were asked for"),
        ));
    }
    transact(&*tools.store, |tx| {
        for vcpu in 0..max {
            let state = if vcpu < count { "online" } else { "offline" };
            let node = format!("/local/domain/{domain}/cpu/{vcpu}/availability");
            tools.store.write(tx, &node, state.as_bytes())?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_cpu_list;

    #[test]
    fn sets_are_written_as_they_are_read() {
        for text in ["all", "0", "0-2,4", "1,3,5-7"] {
            assert_eq!(ranges(&parse_cpu_list(text, 8).unwrap(), 8), text);
        }
        assert_eq!(ranges(&CpuSet::none(8), 8), "none");
    }
}
