//! Configurations as people write them, and what is said about wrong ones.

use super::*;

fn read(text: &str) -> Result<GuestConfig, String> {
    let settings = parse("guest.cfg", text).map_err(|error| error.to_string())?;
    GuestConfig::new("guest.cfg", &settings).map_err(|error| error.to_string())
}

const LEAST: &str = "name = \"web\"\nkernel = \"/k\"\n";

fn refusal(line: &str) -> String {
    read(&format!("{LEAST}{line}\n")).expect_err(line)
}

#[test]
fn a_configuration_of_xen_3() {
    let config = read(
        r#"
# a comment
builder = "generic"
name = 'web'; kernel = "/boot/vmlinuz"
memory = 0x200
disk = [ 'phy:/dev/vg/web,xvda,w',   # the prefix stands for the format
         'file:/images/cd.iso,xvdc:cdrom,r',
       ]
cpus = ["0", "1-3"]
"#,
    )
    .unwrap();
    assert_eq!(config.memory_mib, 512);
    assert_eq!(
        (
            config.disks[0].target.as_str(),
            config.disks[0].vdev.as_str()
        ),
        ("/dev/vg/web", "xvda")
    );
    assert!(config.disks[1].cdrom);
    assert_eq!(config.cpus, ["0", "1-3"]);
}

#[test]
fn the_usual_settings() {
    let config = read(
        "name='web'; kernel=\"/boot/vmlinuz\"\nmemory=512\nmaxmem=1024\nvcpus=2\nmaxvcpus=4\nroot=\"/dev/xvda1\"\n\
         extra=\"ro\"\ndisk=['/dev/vg/web,raw,xvda,w',\n 'format=raw,vdev=xvdb,access=ro,target=/images/a,b.img',]\n\
         vif=['mac=00:16:3e:00:00:01,bridge=xenbr0','']\non_crash=\"preserve\"",
    )
    .unwrap();
    assert_eq!(config.name, "web");
    assert_eq!(config.cmdline, "root=/dev/xvda1 ro");
    assert_eq!((config.memory_mib, config.max_memory_mib), (512, 1024));
    assert_eq!(config.vcpus, Vcpus { online: 2, max: 4 });
    assert_eq!(config.disks[0].target, "/dev/vg/web");
    assert_eq!(config.disks[0].mode, DiskMode::Rw);
    assert_eq!(config.disks[1].target, "/images/a,b.img");
    assert_eq!(config.disks[1].mode, DiskMode::Ro);
    assert_eq!(config.vifs.len(), 2);
    assert_eq!(config.vifs[0].bridge.as_deref(), Some("xenbr0"));
    assert_eq!(config.actions.crash, Action::Preserve);
    assert_eq!(config.actions.reboot, Action::Restart);
}

#[test]
fn errors_name_file_line_and_what_was_expected() {
    for (line, message) in [
        (
            "memroy = 128",
            "guest.cfg:3: unknown key memroy; did you mean memory?",
        ),
        (
            "frobnicate = 1",
            "guest.cfg:3: unknown key frobnicate; docs/xl-cfg.md lists the keys that exist",
        ),
        (
            "memory = [1]",
            "guest.cfg:3: memory: expected a number, found a list",
        ),
        (
            "memory = 0",
            "guest.cfg:3: memory = 0: expected a number from 1 to 17179869184",
        ),
        (
            "ramdisk = 5",
            "guest.cfg:3: ramdisk: expected a string in quotes, found the number 5",
        ),
        (
            "type = \"hvm\"",
            "guest.cfg:3: type = \"hvm\": only PV guests can be built, expected type = \"pv\"",
        ),
        (
            "extra = root",
            "guest.cfg:3: expected a string, a number or a list, found the word root; strings need quotes: \"root\"",
        ),
        (
            "disk = [\n'a,raw,xvda,w',\n'b,raw,xvda,w' ]",
            "guest.cfg:5: disk: xvda is taken by a: expected another vdev",
        ),
        (
            "disk = [\n",
            "guest.cfg:3: the list that begins here is not closed: expected ']'",
        ),
        (
            "extra = \"abc",
            "guest.cfg:3: the string \"abc\" is not closed: expected \" before the end of the line",
        ),
        (
            "vif = ['bridge']",
            "guest.cfg:3: vif: \"bridge\": expected key=value such as bridge=xenbr0",
        ),
        (
            "memory = 5 6",
            "guest.cfg:3: expected the end of the line after the value of memory, found the number 6",
        ),
        (
            "on_crash = 'explode'",
            "guest.cfg:3: on_crash = \"explode\": expected destroy, restart, rename-restart, preserve",
        ),
        (
            "pci = ['00:03.0']",
            "guest.cfg:3: pci is not supported: device passthrough is not supported; leave it out",
        ),
    ] {
        assert_eq!(refusal(line), message);
    }
    assert_eq!(
        read("kernel = 'k'").unwrap_err(),
        "guest.cfg: name is missing: expected name = \"...\""
    );
}

#[test]
fn keys_of_other_guests_and_empty_lists_are_accepted() {
    assert!(
        read(&format!(
            "{LEAST}vnc = 1\nserial = 'pty'\npci = []\nvfb = [ ]\n"
        ))
        .is_ok()
    );
}

#[test]
fn appending_joins_lists_and_strings() {
    let config = read(&format!(
        "{LEAST}disk = ['a,raw,xvda,r']\ndisk += ['b,raw,xvdb,r']\nextra = 'x'\nextra += ' y'\n"
    ))
    .unwrap();
    assert_eq!(config.disks.len(), 2);
    assert_eq!(config.cmdline, "x y");
    assert!(refusal("memory = 5\nmemory += 6").contains("cannot be appended"));
}

#[test]
fn a_later_setting_replaces_an_earlier_one() {
    assert_eq!(
        read(&format!("{LEAST}memory=5\nmemory=6"))
            .unwrap()
            .memory_mib,
        6
    );
}

#[test]
fn device_numbers() {
    for (name, number) in [
        ("xvda", 51712),
        ("xvda1", 51713),
        ("xvdb", 51728),
        ("xvdp15", 51967),
        ("xvdq", (1 << 28) | (16 << 8)),
        ("xvdaa", (1 << 28) | (26 << 8)),
        ("xvda16", (1 << 28) | 16),
        ("hda", 768),
        ("hdb", 832),
        ("hdc", 5632),
        ("sda", 2048),
        ("sdb1", 2065),
        ("d0", 51712),
        ("d1p2", 51730),
        ("51712", 51712),
        ("0xca00", 51712),
    ] {
        assert_eq!(device_number(name), Some(number), "{name}");
    }
    for name in ["", "xvd", "xvda01", "xvdA", "hde", "fd0", "vda"] {
        assert_eq!(device_number(name), None, "{name}");
    }
    for name in ["xvda", "xvdb3", "xvdz", "xvdaa", "xvdaz17"] {
        assert_eq!(device_of_name(device_number(name).unwrap()), name);
    }
}

#[test]
fn rates() {
    let rate = |text: &str| Vif::parse(&format!("rate={text}")).map(|vif| vif.rate.unwrap());
    assert_eq!(
        rate("10Mb/s"),
        Ok(Rate {
            bytes: 62500,
            microseconds: 50000
        })
    );
    assert_eq!(
        rate("250KB/s@20ms"),
        Ok(Rate {
            bytes: 5000,
            microseconds: 20000
        })
    );
    assert!(rate("10").is_err());
    assert!(rate("0B/s").is_err());
}

#[test]
fn processors() {
    let list = |text| parse_cpu_list(text, 8).map(|set| set.iter().collect::<Vec<_>>());
    assert_eq!(list("all").unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(list("0-3,5,^1").unwrap(), [0, 2, 3, 5]);
    assert_eq!(list("6-20").unwrap(), [6, 7]);
    assert!(list("8").unwrap_err().0.contains("numbers below 8"));
    assert!(list("1,^1").unwrap_err().0.contains("leaves no processor"));
    assert!(list("x").is_err());
}

#[test]
fn identities() {
    let text = "8a1c2d30-1b2c-4d3e-8f90-a1b2c3d4e5f6";
    let uuid = Uuid::parse(text).unwrap();
    assert_eq!(uuid.to_string(), text);
    assert_eq!(Uuid::parse("8a1c"), None);
    let mac = Mac::of(uuid.0, 0);
    assert_eq!(mac.0[..3], [0x00, 0x16, 0x3e]);
    assert_ne!(mac, Mac::of(uuid.0, 1));
    assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
    assert!(Vif::parse("mac=01:00:00:00:00:00").is_err());
}

proptest::proptest! {
    /// Any text is either read or refused with its place.
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        if let Err(error) = parse("f", &text) {
            proptest::prop_assert!(error.line >= 1);
        }
    }
}

#[test]
fn the_document_lists_every_key() {
    let document = include_str!("../../../docs/xl-cfg.md");
    for (key, _) in super::keys::KEYS {
        assert!(document.contains(&format!("`{key}`")), "{key}");
    }
}
