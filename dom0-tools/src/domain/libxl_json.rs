//! The configuration file that libxl keeps of each domain, so that `xl list -l` and `xl` itself know our guests.
//!
//! Contract: libxl's `userdata-d.DOMID.UUID.libxl-json`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::{Disk, DiskMode, GuestConfig, TscMode, Uuid, Vif};

const FOLDER: &str = "/var/lib/xen";

/// The configuration as libxl writes it.
#[must_use]
pub fn of(config: &GuestConfig, uuid: Uuid) -> Value {
    let mut build = json!({
        "max_vcpus": config.vcpus.max,
        "avail_vcpus": (0..config.vcpus.online).collect::<Vec<_>>(),
        "max_memkb": config.max_memory_mib << 10,
        "target_memkb": config.memory_mib << 10,
        "video_memkb": 0,
        "sched_params": {},
        "claim_mode": "True",
        "kernel": config.kernel,
        "cmdline": config.cmdline,
        "type.pv": {},
        "arch_arm": {},
        "arch_x86": { "msr_relaxed": if config.msr_relaxed { "True" } else { "False" } },
    });
    if let Some(fields) = build.as_object_mut() {
        if let Some(ramdisk) = &config.ramdisk {
            fields.insert("ramdisk".into(), json!(ramdisk));
        }
        match config.tsc_mode {
            TscMode::Default => {}
            TscMode::AlwaysEmulate => {
                fields.insert("tsc_mode".into(), json!("always_emulate"));
            }
            TscMode::Native => {
                fields.insert("tsc_mode".into(), json!("native"));
            }
        }
        let mut sched = serde_json::Map::new();
        if let Some(weight) = config.cpu_weight {
            sched.insert("weight".into(), json!(weight));
        }
        if let Some(cap) = config.cap {
            sched.insert("cap".into(), json!(cap));
        }
        fields.insert("sched_params".into(), Value::Object(sched));
    }
    let mut whole = json!({
        "c_info": {
            "type": "pv",
            "name": config.name,
            "uuid": uuid.to_string(),
            "run_hotplug_scripts": "True",
        },
        "b_info": build,
        "on_reboot": "restart",
        "on_soft_reset": "soft_reset",
    });
    if let Some(fields) = whole.as_object_mut() {
        if !config.disks.is_empty() {
            let disks: Vec<Value> = config.disks.iter().map(disk).collect();
            fields.insert("disks".into(), Value::Array(disks));
        }
        if !config.vifs.is_empty() {
            let nics = config.vifs.iter().enumerate();
            let nics: Vec<Value> = nics.map(|(index, vif)| nic(index, vif)).collect();
            fields.insert("nics".into(), Value::Array(nics));
        }
        for (key, action) in [
            ("on_poweroff", config.actions.poweroff),
            ("on_reboot", config.actions.reboot),
            ("on_watchdog", config.actions.watchdog),
            ("on_crash", config.actions.crash),
        ] {
            if action == crate::config::Action::Destroy {
                fields.remove(key);
            } else {
                fields.insert(key.into(), json!(action.name().replace('-', "_")));
            }
        }
    }
    whole
}

fn disk(disk: &Disk) -> Value {
    json!({
        "pdev_path": disk.target,
        "vdev": disk.vdev,
        "backend": "phy",
        "format": "raw",
        "removable": i32::from(disk.cdrom),
        "readwrite": i32::from(disk.mode == DiskMode::Rw),
        "is_cdrom": i32::from(disk.cdrom),
        "discard_enable": if disk.discard { "True" } else { "False" },
    })
}

fn nic(index: usize, vif: &Vif) -> Value {
    let mut nic = json!({ "devid": index, "nictype": "vif" });
    if let Some(fields) = nic.as_object_mut() {
        for (key, value) in [
            ("mac", &vif.mac),
            ("bridge", &vif.bridge),
            ("ip", &vif.ip),
            ("ifname", &vif.vifname),
        ] {
            if let Some(value) = value {
                fields.insert(key.into(), json!(value));
            }
        }
    }
    nic
}

fn path(domain: u16, uuid: Uuid) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("userdata-d.{domain}.{uuid}.libxl-json"))
}

/// Writes the file. That it cannot be written keeps no guest from running.
pub fn write(domain: u16, uuid: Uuid, config: &GuestConfig) {
    let Ok(mut text) = serde_json::to_vec_pretty(&of(config, uuid)) else {
        return;
    };
    // libxl counts the NUL at the end.
    text.extend([b'\n', 0]);
    let _ = fs::create_dir_all(FOLDER);
    let _ = fs::write(path(domain, uuid), text);
}

/// The file of a domain, whoever made it.
#[must_use]
pub fn read(domain: u16, uuid: Uuid) -> Option<Value> {
    let text = fs::read(path(domain, uuid)).ok()?;
    serde_json::from_slice(text.split(|byte| *byte == 0).next()?).ok()
}

/// Removes every file of the domain.
pub fn remove(domain: u16, uuid: Uuid) {
    let _ = fs::remove_file(path(domain, uuid));
}
