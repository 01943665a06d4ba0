//! What xenstore says of a guest, apart from its devices.
//!
//! Contract: docs/misc/xenstore-paths of Xen 4.17, and what libxl writes for a PV guest.

use crate::config::{GuestConfig, Uuid};
use crate::store::{Batch, Perms};

/// The nodes of a domain that is about to be built. Whatever was there of an earlier domain is removed first.
#[must_use]
pub fn first(domain: u16, uuid: Uuid, config: &GuestConfig) -> Batch {
    let read_by = Perms::read_by(domain);
    let owned = Perms::owned_by(domain);
    let private = Perms::private();
    let home = format!("/local/domain/{domain}");
    let vm = format!("/vm/{uuid}");
    let libxl = format!("/libxl/{domain}");

    let mut batch = Batch::new();
    batch.add_with(&home, "", &read_by);
    batch.add_with(&vm, "", &read_by);
    batch.add_with(&libxl, "", &private);
    batch.add_with(format!("{libxl}/device"), "", &private);
    batch.add(format!("{home}/vm"), &vm);
    batch.add(format!("{home}/name"), &config.name);
    for folder in ["cpu", "memory", "device", "control"] {
        batch.add_with(format!("{home}/{folder}"), "", &read_by);
    }
    batch.add(format!("{home}/device/suspend"), "");
    for node in [
        "device/suspend/event-channel",
        "control/shutdown",
        "control/feature-poweroff",
        "control/feature-reboot",
        "control/feature-suspend",
        "control/sysrq",
        "data",
        "drivers",
        "feature",
        "attr",
        "error",
    ] {
        batch.add_with(format!("{home}/{node}"), "", &owned);
    }
    batch.add(format!("{vm}/uuid"), uuid.to_string());
    batch.add(format!("{vm}/name"), &config.name);
    batch.add_all(
        &format!("{home}/control"),
        [
            ("platform-feature-multiprocessor-suspend", "1"),
            ("platform-feature-xs_reset_watches", "1"),
        ],
    );
    batch.add(format!("{libxl}/type"), "pv");
    batch
}

/// What a guest that was saved has told before: a kernel says only when it starts which requests it listens for, and one that has
/// suspended itself listens for all of them.
#[must_use]
pub fn listening(domain: u16) -> Batch {
    let mut batch = Batch::new();
    for ending in ["poweroff", "reboot", "suspend"] {
        let node = format!("/local/domain/{domain}/control/feature-{ending}");
        batch.add(node, "1");
    }
    batch
}

/// The nodes of a domain that is built, whose store's ring is `ring`: the frame and the guest's port.
#[must_use]
pub fn second(domain: u16, uuid: Uuid, config: &GuestConfig, ring: (u64, u32), now: f64) -> Batch {
    let home = format!("/local/domain/{domain}");
    let vm = format!("/vm/{uuid}");
    let mut batch = Batch::new();
    let kib = |mib: u64| (mib << 10).to_string();
    batch.add_all(
        &format!("{home}/memory"),
        [
            ("static-max", kib(config.max_memory_mib)),
            ("target", kib(config.memory_mib)),
            ("videoram", "0".to_owned()),
        ],
    );
    batch.add(format!("{home}/domid"), domain.to_string());
    // Folders have the rights of the home when they are made by themselves.
    batch.add(format!("{home}/store"), "");
    batch.add_all(
        &format!("{home}/store"),
        [
            ("port", ring.1.to_string()),
            ("ring-ref", ring.0.to_string()),
        ],
    );
    for vcpu in 0..config.vcpus.max {
        let state = if vcpu < config.vcpus.online {
            "online"
        } else {
            "offline"
        };
        batch.add(format!("{home}/cpu/{vcpu}"), "");
        batch.add(format!("{home}/cpu/{vcpu}/availability"), state);
    }
    batch.add(format!("{vm}/image"), "");
    batch.add(format!("{vm}/image/ostype"), "linux");
    batch.add(format!("{vm}/image/kernel"), &config.kernel);
    if let Some(ramdisk) = &config.ramdisk {
        batch.add(format!("{vm}/image/ramdisk"), ramdisk);
    }
    batch.add(format!("{vm}/image/cmdline"), &config.cmdline);
    batch.add(format!("{vm}/start_time"), format!("{now:.2}"));
    batch
}
