//! A guest's configuration from libxl's JSON, which files of saved guests carry.
//!
//! Contract: `libxl_domain_config` of Xen 4.17 as libxl prints it: what has its default value is left out.

use serde_json::Value;

use super::{Code, ToolError};
use crate::config::{Action, Actions, Disk, DiskMode, GuestConfig, TscMode, Vcpus, Vif};

/// Reads the configuration of a PV guest.
///
/// # Errors
/// It is no such configuration, or says something that cannot be honoured.
pub fn parse(text: &[u8]) -> Result<GuestConfig, ToolError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| wrong(format!("the configuration in it is no JSON: {error}")))?;
    let info = &value["c_info"];
    let build = &value["b_info"];
    if info["type"].as_str() != Some("pv") {
        return Err(wrong(format!(
            "the guest in it is of type {}; only PV guests can be restored",
            info["type"]
        )));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| value.as_u64();
    let number32 = |value: &Value| number(value).and_then(|number| u32::try_from(number).ok());
    let number16 = |value: &Value| number(value).and_then(|number| u16::try_from(number).ok());
    let name = text(&info["name"]).ok_or_else(|| wrong("the guest in it has no name"))?;
    if let Some(problem) = crate::config::name_problem(&name) {
        return Err(wrong(format!("the name \"{name}\" in it {problem}")));
    }
    let target = number(&build["target_memkb"]).or(number(&build["max_memkb"]));
    let memory_mib = target.unwrap_or(0).div_ceil(1024);
    if memory_mib == 0 {
        return Err(wrong("the guest in it has no memory"));
    }
    let max_memory = number(&build["max_memkb"]).unwrap_or(0).div_ceil(1024);
    let max = number32(&build["max_vcpus"]).unwrap_or(1).max(1);
    let online = build["avail_vcpus"]
        .as_array()
        .map_or(max, |list| list.len() as u32);
    let action = |key: &str, default: Action| -> Result<Action, ToolError> {
        match value[key].as_str() {
            None => Ok(default),
            Some("soft_reset") => Ok(Action::Restart),
            Some(name) => Action::named(&name.replace('_', "-"))
                .ok_or_else(|| wrong(format!("{key} = {name} in it cannot be done"))),
        }
    };
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    Ok(GuestConfig {
        name,
        uuid: text(&info["uuid"]),
        kernel: text(&build["kernel"]).unwrap_or_default(),
        ramdisk: text(&build["ramdisk"]),
        cmdline: text(&build["cmdline"]).unwrap_or_default(),
        memory_mib,
        max_memory_mib: max_memory.max(memory_mib),
        vcpus: Vcpus {
            online: online.clamp(1, max),
            max,
        },
        cpus: Vec::new(),
        cpus_soft: Vec::new(),
        pool: None,
        cpu_weight: number16(&build["sched_params"]["weight"]),
        cap: number16(&build["sched_params"]["cap"]),
        actions: Actions {
            poweroff: action("on_poweroff", Action::Destroy)?,
            reboot: action("on_reboot", Action::Destroy)?,
            crash: action("on_crash", Action::Destroy)?,
            watchdog: action("on_watchdog", Action::Destroy)?,
            soft_reset: action("on_soft_reset", Action::Destroy)?,
        },
        disks: list("disks").iter().map(disk).collect::<Result<_, _>>()?,
        vifs: list("nics").iter().map(vif).collect(),
        tsc_mode: match build["tsc_mode"].as_str() {
            Some("always_emulate") => TscMode::AlwaysEmulate,
            Some("native") => TscMode::Native,
            _ => TscMode::Default,
        },
        nomigrate: false,
        msr_relaxed: build["arch_x86"]["msr_relaxed"].as_str() == Some("True"),
        time_offset: 0,
        max_grant_frames: number32(&build["max_grant_frames"]),
        max_maptrack_frames: number32(&build["max_maptrack_frames"]),
        max_grant_version: number32(&build["max_grant_version"]),
        max_event_channels: number32(&build["event_channels"]),
    })
}

fn disk(value: &Value) -> Result<Disk, ToolError> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (target, vdev) = (text("pdev_path"), text("vdev"));
    let format = value["format"].as_str().unwrap_or("raw");
    if format != "raw" || target.is_empty() || vdev.is_empty() {
        return Err(wrong(format!(
            "its disk \"{vdev}\" is {format} at \"{target}\"; only raw disks can be connected"
        )));
    }
    let is_set = |key: &str| match &value[key] {
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => text == "True",
        other => other.as_bool() == Some(true),
    };
    Ok(Disk {
        target,
        vdev,
        mode: if is_set("readwrite") {
            DiskMode::Rw
        } else {
            DiskMode::Ro
        },
        shared: false,
        discard: is_set("discard_enable"),
        cdrom: is_set("is_cdrom"),
        direct_io_safe: is_set("direct_io_safe"),
    })
}

fn vif(value: &Value) -> Vif {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Vif {
        mac: text("mac"),
        bridge: text("bridge"),
        ip: text("ip"),
        vifname: text("ifname"),
        rate: None,
        mtu: value["mtu"]
            .as_u64()
            .and_then(|mtu| u32::try_from(mtu).ok()),
    }
}

fn wrong(text: impl Into<String>) -> ToolError {
    ToolError::new(Code::Usage, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Uuid, parse as parse_settings};
    use crate::domain::libxl_json;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "name = \"a\"\nkernel = \"/k\"\nramdisk = \"/r\"\nmemory = 64\nmaxmem = 96\nvcpus = 2\nmaxvcpus = 4\n\
                    extra = \"x=1\"\non_crash = \"preserve\"\non_reboot = \"destroy\"\ncpu_weight = 300\n\
                    disk = [\"/d,raw,xvda,r\"]\nvif = [\"mac=00:16:3e:00:00:01,bridge=b\"]\n";
        let settings = parse_settings("f", text).unwrap();
        let mut config = GuestConfig::new("f", &settings).unwrap();
        let uuid = Uuid([7; 16]);
        let json = serde_json::to_vec(&libxl_json::of(&config, uuid)).unwrap();
        let read = parse(&json).unwrap();
        config.uuid = Some(uuid.to_string());
        assert_eq!(read, config);
    }

    #[test]
    fn what_cannot_be_restored_is_refused() {
        for (text, reason) in [
            ("{", "no JSON"),
            ("{\"c_info\": {\"type\": \"hvm\"}}", "only PV"),
            ("{\"c_info\": {\"type\": \"pv\"}}", "no name"),
            (
                "{\"c_info\": {\"type\": \"pv\", \"name\": \"a\"}}",
                "no memory",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.message.contains(reason), "{}", error.message);
        }
    }
}
