//! Every key of xl.cfg: what it is for, and whether a PV guest of ours knows it.
//!
//! Contract: xl.cfg(5) of Xen 4.17.

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It means what xl.cfg(5) says.
    Full,
    /// It has no meaning for a PV guest and is ignored, as `xl` does.
    OtherGuests,
    /// It exists, but is not supported: the reason and what to do.
    No(&'static str),
}

/// The keys and their support, sorted.
pub const KEYS: &[(&str, Support)] = &[
    ("acpi", Support::OtherGuests),
    ("acpi_firmware", Support::OtherGuests),
    ("acpi_laptop_slate", Support::OtherGuests),
    ("acpi_s3", Support::OtherGuests),
    ("acpi_s4", Support::OtherGuests),
    ("altp2m", Support::OtherGuests),
    ("apic", Support::OtherGuests),
    ("bios", Support::OtherGuests),
    ("blkdev_start", Support::OtherGuests),
    ("boot", Support::OtherGuests),
    (
        "bootloader",
        Support::No("give the kernel itself, or pvgrub as kernel="),
    ),
    (
        "bootloader_args",
        Support::No("give the kernel itself, or pvgrub as kernel="),
    ),
    ("builder", Support::Full),
    ("cap", Support::Full),
    ("channel", Support::No("leave it out")),
    ("claim_mode", Support::OtherGuests),
    ("cmdline", Support::Full),
    ("cpu_weight", Support::Full),
    (
        "cpuid",
        Support::No("the guest gets the hypervisor's default policy; leave it out"),
    ),
    ("cpus", Support::Full),
    ("cpus_soft", Support::Full),
    ("device_model_args", Support::OtherGuests),
    ("device_model_args_hvm", Support::OtherGuests),
    ("device_model_args_pv", Support::OtherGuests),
    ("device_model_override", Support::OtherGuests),
    ("device_model_stubdomain_override", Support::OtherGuests),
    ("device_model_user", Support::OtherGuests),
    ("device_model_version", Support::OtherGuests),
    ("device_tree", Support::OtherGuests),
    ("disk", Support::Full),
    (
        "driver_domain",
        Support::No("driver domains are not supported; leave it out"),
    ),
    ("dtdev", Support::OtherGuests),
    (
        "e820_host",
        Support::No("it is of use with PCI passthrough only; leave it out"),
    ),
    ("event_channels", Support::Full),
    ("extra", Support::Full),
    ("extratime", Support::OtherGuests),
    ("firmware", Support::OtherGuests),
    ("firmware_override", Support::OtherGuests),
    ("gfx_passthru", Support::OtherGuests),
    ("guest_time", Support::OtherGuests),
    ("hap", Support::OtherGuests),
    ("hdtype", Support::OtherGuests),
    ("hpet", Support::OtherGuests),
    ("init_seclabel", Support::OtherGuests),
    (
        "iomem",
        Support::No("device passthrough is not supported; leave it out"),
    ),
    (
        "ioports",
        Support::No("device passthrough is not supported; leave it out"),
    ),
    (
        "irqs",
        Support::No("device passthrough is not supported; leave it out"),
    ),
    ("kernel", Support::Full),
    ("keymap", Support::OtherGuests),
    ("latency", Support::OtherGuests),
    (
        "localtime",
        Support::No("the guest's clock is UTC, shifted by rtc_timeoffset; leave it out"),
    ),
    ("max_event_channels", Support::Full),
    ("max_grant_frames", Support::Full),
    ("max_grant_version", Support::Full),
    ("max_maptrack_frames", Support::Full),
    ("maxmem", Support::Full),
    ("maxvcpus", Support::Full),
    ("mca_caps", Support::OtherGuests),
    ("memory", Support::Full),
    ("mmio_hole", Support::OtherGuests),
    ("ms_vm_genid", Support::OtherGuests),
    ("msr_relaxed", Support::Full),
    ("name", Support::Full),
    ("nested_hvm", Support::OtherGuests),
    ("nestedhvm", Support::OtherGuests),
    ("nomigrate", Support::Full),
    ("nx", Support::OtherGuests),
    ("on_crash", Support::Full),
    ("on_poweroff", Support::Full),
    ("on_reboot", Support::Full),
    ("on_soft_reset", Support::Full),
    ("on_watchdog", Support::Full),
    ("opengl", Support::OtherGuests),
    (
        "p9",
        Support::No("leave it out and share files over the network"),
    ),
    ("pae", Support::OtherGuests),
    ("passthrough", Support::OtherGuests),
    (
        "pci",
        Support::No("device passthrough is not supported; leave it out"),
    ),
    ("pci_msitranslate", Support::OtherGuests),
    ("pci_permissive", Support::OtherGuests),
    ("pci_power_mgmt", Support::OtherGuests),
    ("pci_seize", Support::OtherGuests),
    ("period", Support::OtherGuests),
    ("pool", Support::Full),
    (
        "pvcalls",
        Support::No("leave it out and use a network card"),
    ),
    (
        "pvh",
        Support::No("only PV guests can be built; leave it out"),
    ),
    ("pvshim", Support::OtherGuests),
    ("ramdisk", Support::Full),
    ("rdm", Support::OtherGuests),
    ("rdm_mem_boundary", Support::OtherGuests),
    ("root", Support::Full),
    ("rtc_timeoffset", Support::Full),
    ("sched", Support::OtherGuests),
    ("sdl", Support::OtherGuests),
    (
        "seclabel",
        Support::No("there is no security policy to label for; leave it out"),
    ),
    ("serial", Support::OtherGuests),
    ("shadow_memory", Support::OtherGuests),
    ("slice", Support::OtherGuests),
    ("smbios_firmware", Support::OtherGuests),
    ("soundhw", Support::OtherGuests),
    ("spice", Support::OtherGuests),
    ("stdvga", Support::OtherGuests),
    ("timer_mode", Support::OtherGuests),
    ("tsc_mode", Support::Full),
    ("type", Support::Full),
    ("usb", Support::OtherGuests),
    ("usbctrl", Support::No("leave it out")),
    ("usbdev", Support::No("leave it out")),
    ("usbdevice", Support::OtherGuests),
    ("usbversion", Support::OtherGuests),
    ("uuid", Support::Full),
    ("vcpus", Support::Full),
    ("vdispl", Support::No("leave it out")),
    ("vendor_device", Support::OtherGuests),
    (
        "vfb",
        Support::No("there is no frame buffer back end; use the console or the network"),
    ),
    ("vga", Support::OtherGuests),
    ("videoram", Support::OtherGuests),
    ("vif", Support::Full),
    ("vif2", Support::OtherGuests),
    ("viridian", Support::OtherGuests),
    ("vkb", Support::No("leave it out")),
    ("vmtrace_buf_kb", Support::OtherGuests),
    ("vnc", Support::OtherGuests),
    ("vncconsole", Support::OtherGuests),
    ("vncdisplay", Support::OtherGuests),
    ("vnclisten", Support::OtherGuests),
    ("vncpasswd", Support::OtherGuests),
    ("vncunused", Support::OtherGuests),
    ("vncviewer", Support::OtherGuests),
    (
        "vnuma",
        Support::No("the guest sees one node; leave it out"),
    ),
    ("vpt_align", Support::OtherGuests),
    ("vsnd", Support::No("leave it out")),
    ("vtpm", Support::No("leave it out")),
    ("vuart", Support::OtherGuests),
    ("xen_platform_pci", Support::OtherGuests),
    ("xend_suspend_evtchn_compat", Support::OtherGuests),
];

/// What is done with the key `name`; None if there is no such key.
#[must_use]
pub fn support(name: &str) -> Option<Support> {
    // xl takes both spellings.
    let folded = name.replace('-', "_");
    KEYS.iter()
        .find(|(key, _)| *key == folded)
        .map(|(_, support)| *support)
}

/// The key that `name` is most likely meant to be.
#[must_use]
pub fn similar(name: &str) -> Option<&'static str> {
    let close = |key: &&str| {
        let distance = distance(name, key);
        (distance <= 2 && distance < key.len()).then_some(distance)
    };
    KEYS.iter()
        .map(|(key, _)| *key)
        .filter_map(|key| close(&key).map(|distance| (distance, key)))
        .min()
        .map(|(_, key)| key)
}

/// Single-character edits between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, char) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in b.iter().enumerate() {
            let cost = usize::from(char != *other);
            let best = (diagonal + cost)
                .min(row[column] + 1)
                .min(row[column + 1] + 1);
            diagonal = row[column + 1];
            row[column + 1] = best;
        }
    }
    row[b.len()]
}
